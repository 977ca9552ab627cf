"""Predictions from a model file with NumPy alone."""
