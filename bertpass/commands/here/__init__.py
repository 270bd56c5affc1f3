"""Commands about this installation: what it has, completion, the demos."""
