"""What is solved: data and starting points, the same bits for every peer."""
