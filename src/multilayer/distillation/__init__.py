"""One small network that imitates a larger model: see `multilayer.distill`."""
