"""What ``lmjax demo`` runs: real data, Keras models, Levenberg-Marquardt beside Adam."""
