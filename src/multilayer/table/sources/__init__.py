"""Files, databases and frames become a table of columns."""
