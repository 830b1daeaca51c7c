"""Which kernels run the loops of a network, by the time they are expected to take."""
