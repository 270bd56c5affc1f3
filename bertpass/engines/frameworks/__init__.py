"""Engines of other frameworks, a module each."""
