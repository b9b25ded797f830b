"""How a Keras model is trained: ``bridge.fit``, ``bridge.Trainer``."""
