"""Cores and instances on disjoint cores: how speed grows, and which requests go where."""
