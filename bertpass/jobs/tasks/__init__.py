"""The tasks: what each kind does, its outputs, and how the model for one is opened."""
