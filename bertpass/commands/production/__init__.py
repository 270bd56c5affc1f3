"""Commands for production: batches, instances, load, plans."""
