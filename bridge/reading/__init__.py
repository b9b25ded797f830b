"""Reading Keras models, live or from a file, into a :class:`bridge.graph.LayerGraph`."""
