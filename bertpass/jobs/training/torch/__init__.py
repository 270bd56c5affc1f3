"""Fine-tuning with PyTorch, for families that MXNet's network does not compute, or where it is asked for."""
