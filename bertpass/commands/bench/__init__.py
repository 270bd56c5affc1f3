"""The words of ``bertpass bench``, a module each."""
