"""Models as one SELECT."""
