"""Commands that make a model: fine-tuning, deployment, a new one."""
