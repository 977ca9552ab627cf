"""Models as plain scripts of PyTorch and NumPy."""
