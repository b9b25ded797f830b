"""What happens to a residual function: ``least_squares``, ``curve_fit``, ``multi_start``."""
