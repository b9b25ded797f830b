"""How a model is trained on rows of data: ``fit``, ``Trainer``."""
