"""Commands about the files of a model."""
