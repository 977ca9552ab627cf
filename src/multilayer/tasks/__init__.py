"""What is predicted: coding of targets, link, constant, metrics."""
