"""Keras' side of a fit while it runs: callbacks, metrics, weights at home, the history."""
