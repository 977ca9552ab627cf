"""`fit` and its stages: from a table to a trained model."""
