"""The functions of TensorFlow that models of Keras 2 call by name."""
