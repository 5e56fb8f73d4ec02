"""One denoiser computed by all processes of a replica: unified sequence parallelism, and guidance beside
it."""
