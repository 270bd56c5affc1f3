"""Level 6: whole jobs with models: deployment, fine-tuning, the demos, and what runs programs on machines."""
