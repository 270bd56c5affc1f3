"""A model on its way out: exported, rewritten by the passes, measured; and as a file for other runtimes."""
