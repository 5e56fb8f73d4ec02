"""A real Slurm with several hosts on one machine: network namespaces for nodes, nothing left behind."""
