"""Dense layers, activations, normalization, merging, shapes, wrappers."""
