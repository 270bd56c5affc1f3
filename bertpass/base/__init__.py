"""What every level uses and what uses none: files, paths, variables, processes."""
