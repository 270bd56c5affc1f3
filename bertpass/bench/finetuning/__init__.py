"""Fine-tuning next to a PyTorch control."""
