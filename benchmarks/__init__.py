"""Benchmarks that anyone can rerun; each writes JSON lines under `benchmarks/results/` and prints a table."""
