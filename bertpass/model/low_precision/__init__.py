"""Which matrix product computes in which type, and int8 that changes the outputs least."""
