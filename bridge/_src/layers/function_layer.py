"""A function of one array as a layer: what stands for an activation that is none of
``keras.activations``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bridge._src.description.errors import ConversionError
from bridge._src.description.identity import described
from bridge._src.layers.base import KerasLayer
from bridge._src.typing import Mask


class FunctionLayer(KerasLayer):
    """A JAX function of one array as a layer without weights.

    What a converter that is registered for an activation function returns. Two of the same function
    are equal, and share their compiled code.

    Attributes:
        function: a pure function of an array of any shape to one of the same shape and dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax.keras
        >>> layer = lmjax.keras.layers.FunctionLayer(jnp.square)
        >>> layer(jnp.array([1.0, 3.0])).tolist()
        [1.0, 9.0]
        >>> layer == lmjax.keras.layers.FunctionLayer(jnp.square)
        True
    """

    function: Callable[[jax.Array], jax.Array]

    def __call__(self, inputs: jax.Array, mask: Mask = None) -> jax.Array:
        """The function of ``inputs``."""
        return self.function(inputs)


class LiveCall(FunctionLayer):
    """A function of the user's on Keras' JAX backend; it may read Keras' variables, but not change
    them.
    """

    def __call__(self, inputs: jax.Array, mask: Mask = None) -> jax.Array:
        """The function of ``inputs``, in their dtype."""
        whose = f"activation {described(self.function, 'activations')}"
        try:
            with sys.modules["keras"].StatelessScope() as scope:
                outputs = jnp.asarray(self.function(inputs))
        except Exception as error:
            raise ConversionError(
                f"{whose} cannot be run by JAX ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]})"
            ) from error
        if scope.state_mapping:
            raise ConversionError(
                f"{whose} changes variables of Keras at every call, as random numbers do, "
                "and cannot be fitted"
            )
        return (
            outputs.astype(inputs.dtype) if jnp.issubdtype(inputs.dtype, jnp.floating) else outputs
        )
