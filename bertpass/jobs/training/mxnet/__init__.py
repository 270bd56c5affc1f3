"""Fine-tuning with MXNet: the trainer, its losses and optimisers, several processes."""
