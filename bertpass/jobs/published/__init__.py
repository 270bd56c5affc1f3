"""What the published scripts export.py and embedding.py do."""
