"""The demonstration behind ``lmjax demo``: real data, Keras models, Levenberg-Marquardt beside Adam."""
