"""The CUDA engine next to its peers on one GPU."""
