"""Which Keras the demonstration uses: TensorFlow's if that is installed, else Keras on JAX."""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

from bridge._src.command.output import native_messages_hidden


def choose_backend() -> str:
    """Sets Keras' backend for this process, unless the user has, and returns its name; to be called
    before Keras is imported.
    """
    installed = importlib.util.find_spec("tensorflow") is not None
    # Else TensorFlow's start-up messages bury the output.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return os.environ.setdefault("KERAS_BACKEND", "tensorflow" if installed else "jax")


def load_keras() -> tuple[ModuleType, str]:
    """The Keras module and the name under which the model is built."""
    backend = choose_backend()
    if backend != "tensorflow":
        return importlib.import_module("keras"), f"Keras on {backend}"
    with native_messages_hidden():
        tensorflow = importlib.import_module("tensorflow")
        # TensorFlow would take all of the card's memory from JAX.
        tensorflow.config.set_visible_devices([], "GPU")
        tensorflow.get_logger().setLevel("ERROR")  # it warns of every new model's tracing
        keras = tensorflow.keras
        keras.ops.zeros(1)  # starts the runtime, which has messages of its own
    return keras, "tf.keras"
