"""What a Keras model says of itself, whether it is live or in a file."""
