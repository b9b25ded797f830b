"""What models say of data, how well, and by which method they are best trained."""
