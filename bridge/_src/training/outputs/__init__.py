"""Models with several outputs: their losses, targets and weights, side by side in one row."""
