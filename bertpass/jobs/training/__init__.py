"""Fine-tuning: the loop, its losses and optimizers, and the jobs that start it."""
