"""Regularization whose strength the data decide, and what is known of the parameters after it."""
