"""The TVM engine: its kernels, their schedules, the network of them."""
