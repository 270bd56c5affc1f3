"""The two demos, whole jobs on small data."""
