"""Settings that have to be in place before Keras or TensorFlow is imported."""

import os
import signal

# The oracle for float64 is Keras on TensorFlow: on JAX it computes in float32.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# Under a background job SIGINT is inherited as ignored, and the tests of Ctrl-C would wait for something that never comes.
signal.signal(signal.SIGINT, signal.default_int_handler)
