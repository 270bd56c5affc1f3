"""CPU engines on the same weights, and the CPU engine's kernels alone: runs and their tables."""
