"""Commands that measure or compare beside ``bertpass bench``."""
