"""The layouts in which a model lies in a folder or a file, each read and written."""
