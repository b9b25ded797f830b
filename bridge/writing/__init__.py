"""Writing parameters back into live Keras models and ``.keras`` files."""
