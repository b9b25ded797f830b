"""Where a training begins: the weights of a model, and new draws of them."""
