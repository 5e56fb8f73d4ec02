"""hpcwise: generated video from a Slurm allocation, ready by morning or watched live."""

__version__ = "0.1.0"
