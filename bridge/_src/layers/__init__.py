"""The converters shipped with lmjax, one for each Keras class, in the folders that Keras has."""
