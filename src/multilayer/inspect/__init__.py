"""Looking inside: what layers do to a batch."""
