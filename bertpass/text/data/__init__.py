"""Data sets: the tasks, their files and labels, and where to get them."""
