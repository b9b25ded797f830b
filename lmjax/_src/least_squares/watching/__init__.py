"""Following a run while it lasts, and ending it."""
