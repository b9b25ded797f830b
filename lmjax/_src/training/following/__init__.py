"""The host's side of a fit: who is told of it, what is shown, and what is kept."""
