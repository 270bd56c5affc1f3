"""From a request to an instance and back: the queue by tokens, admission, the pool of instances."""
