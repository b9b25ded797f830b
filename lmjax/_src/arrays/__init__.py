"""The arrays of parameters and what is done with them."""
