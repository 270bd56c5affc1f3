"""Level 8: the command ``bertpass``; its table, and a room for each group of its help."""
