"""Functions of TensorFlow as functions of JAX, through tf2jax: an optional package, for layers of
the user's own.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from bridge._src.description.errors import ConversionError


def is_available() -> bool:
    """Whether tf2jax is installed."""
    return importlib.util.find_spec("tf2jax") is not None


def through_tensorflow(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of trees of TensorFlow tensors as one of JAX arrays.

    It is traced anew for every set of shapes, so that sizes which it reads from its inputs are the
    true ones.

    Raises:
        ConversionError: tf2jax cannot translate an operation.
    """
    import tf2jax

    tensorflow = sys.modules["tensorflow"]  # loaded by Keras

    def translated(*arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        graph = tensorflow.function(
            lambda *tensors: function(*jax.tree.unflatten(structure, tensors)), autograph=False
        )
        examples = [np.zeros(leaf.shape, leaf.dtype) for leaf in leaves]
        with tf2jax.override_config("strict_shape_check", False):
            try:
                run, captured = tf2jax.convert(graph, *examples)
            except ConversionError:
                raise
            except (NotImplementedError, ValueError, TypeError, KeyError) as error:
                raise ConversionError(
                    "tf2jax cannot translate the layer's call: "
                    f"{' '.join(str(error).split())[:200]}"
                ) from error
            return run(captured, *leaves)[0]

    return translated
