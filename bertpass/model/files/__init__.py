"""Arrays in files: mapped, read as views, written whole or not at all."""
