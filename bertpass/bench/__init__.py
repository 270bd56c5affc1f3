"""Every engine on the same weights in one run: each in a process of its own, checked first, then timed in turn."""
