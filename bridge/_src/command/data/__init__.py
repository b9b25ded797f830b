"""Training data from files."""
