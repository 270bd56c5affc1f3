"""Level 3: architecture, checkpoints, bundles and networks. Importing this package does not load MXNet."""
