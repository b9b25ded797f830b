"""The Flax module of a layer graph, and its binding to weights."""
