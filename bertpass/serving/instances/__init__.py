"""Processes that compute: the models they hold, where they run, how they are started and ended."""
