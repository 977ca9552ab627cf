"""Training: losses, schedules, metrics, the loop and its engines."""
