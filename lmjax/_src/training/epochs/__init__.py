"""What runs the epochs of a fit: steps on all rows or on batches, in memory or streamed."""
