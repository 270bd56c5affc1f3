"""A model in low precision: the flags, the rows of its calibration, the guard of its metric."""
