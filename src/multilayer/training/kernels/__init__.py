"""Compiled loops that train and run networks: a plan of the network, its kernels, and what compiles them."""
