"""What a fit adds to the mean loss of its rows."""
