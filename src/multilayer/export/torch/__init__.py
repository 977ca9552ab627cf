"""Models as programs of `torch.export`, and as plain weights."""
