"""The engine for NVIDIA GPUs, and the C library that computes it."""
