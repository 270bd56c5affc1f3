"""The tests: one folder per level of the package, and what they share in tests/helpers."""
