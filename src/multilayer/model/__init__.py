"""A trained model: its file, its checks and its predictions."""
