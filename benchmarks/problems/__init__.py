"""What is solved in tests: published problems with known answers."""
