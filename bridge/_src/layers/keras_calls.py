"""Layers that compute by Keras' own code: those that the user allows, by class, and JaxLayer and
FlaxLayer.

Both need the live layer, whose Python functions are in no file.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from bridge._src.description.errors import ConversionError, LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.registry import add, converts, key_for
from bridge._src.layers.tensorflow_route import is_available, through_tensorflow
from bridge._src.typing import Config, LiveLayer, Mask
from lmjax._src.typing import Array, PyTree

#: Weights of layers whose own names nobody knows are numbered through.
_NUMBERED = "variable_{}"


@dataclasses.dataclass(frozen=True, eq=False)
class Held:
    """A live Keras layer, compared by identity."""

    layer: LiveLayer

    def weights(self) -> tuple[Weight, ...]:
        """The weights of the layer and of all layers within it, in Keras' order."""
        return tuple(
            Weight(_NUMBERED.format(number), variable.trainable, number=number)
            for number, variable in enumerate(self.layer.weights)
        )


class _Live(KerasLayer):
    """A layer that has a live Keras layer at its back."""

    held: Held

    def weights(self) -> tuple[Weight, ...]:
        return self.held.weights()

    def _params(self, dtype: DTypeLike) -> dict[int, jax.Array]:
        """The weights by the identity of Keras' variables; to be called from a compact method."""
        found = {}
        for weight, variable in zip(self.weights(), self.held.layer.weights, strict=True):
            shape = tuple(variable.shape)
            stored = dtype if "float" in str(variable.dtype) else str(variable.dtype)
            found[id(variable)] = self.param(
                weight.name, lambda _, shape=shape, stored=stored: jnp.zeros(shape, stored)
            )
        return found


def held_layer(config: LayerConfig) -> Held:
    """The live layer behind ``config``; refuses layers that come from a file or stand inside
    another layer.
    """
    config.ignore(*config)
    if config.live is None:
        raise LayerRefused(
            "its Python code is in no file; convert the live model, with the layer in a "
            "model and not within another layer"
        )
    return Held(config.live)


@converts("JaxLayer", "FlaxLayer")
class JaxFunction(_Live):
    """The JAX function of a JaxLayer, or the Flax module of a FlaxLayer, called as at inference."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(held_layer(config))

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None

    @nn.compact
    def __call__(self, inputs: PyTree, mask: Mask = None) -> PyTree:
        layer, params = self.held.layer, self._params(float_dtype(jax.tree.leaves(inputs)[0]))

        def values(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: params.get(id(leaf), leaf), tree)

        given: dict[str, Callable[[], Any]] = {
            "params": lambda: values(layer.params),
            "state": lambda: values(layer.state),
            "rng": lambda: {} if type(layer).__name__ == "FlaxLayer" else None,
            "inputs": lambda: inputs,
            "training": lambda: False,
        }
        outputs: PyTree = layer.call_fn(
            *(given[name]() for name in inspect.signature(layer.call_fn).parameters)
        )
        return outputs[0] if "state" in inspect.signature(layer.call_fn).parameters else outputs


class KerasCall(_Live):
    """A layer of the user's, run through Keras' ``stateless_call`` in the layer's own precision.

    On Keras' JAX backend that is a JAX function; on TensorFlow's, tf2jax translates the graph that
    the call makes.
    """

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        held = held_layer(config)
        layer = held.layer
        if not hasattr(layer, "stateless_call"):
            raise LayerRefused(
                "layers of Keras 2 have no stateless call that could be run; register a "
                "converter for it"
            )
        _route(_backend())
        warnings.warn(
            f"layer {layer.name!r} ({type(layer).__name__}) runs through Keras' own call, "
            f"in {layer.compute_dtype}",
            stacklevel=2,
        )
        return cls(held)

    @property
    def _accepted(self) -> Config:
        return inspect.signature(self.held.layer.call).parameters

    def compute_mask(self, inputs: PyTree, mask: Mask) -> Mask:
        layer = self.held.layer
        own = type(layer).compute_mask.__module__.partition(".")[0] != "keras"
        if own:
            raise ConversionError(
                f"layer {layer.name} computes masks by code of its own, which cannot be "
                "run; register a converter for it"
            )
        return mask if layer.supports_masking else None

    def rounds_to_single(self) -> bool:
        return str(self.held.layer.compute_dtype) != "float64"

    @nn.compact
    def __call__(self, inputs: PyTree, mask: Mask = None) -> PyTree:
        layer, dtype = self.held.layer, float_dtype(jax.tree.leaves(inputs)[0])
        masks = {} if mask is None else {"mask": mask}
        if masks and "mask" not in self._accepted:
            raise ConversionError(
                f"layer {layer.name} gets a mask that its call does not take; register a "
                "converter for it"
            )
        known = self._params(dtype)
        weights = [
            [_in_dtype(known.get(id(one), one.value), one.dtype) for one in variables]
            for variables in (layer.trainable_variables, layer.non_trainable_variables)
        ]
        tensors = jax.tree.map(lambda leaf: _in_dtype(leaf, layer.compute_dtype), inputs)
        options = {"training": False} if "training" in self._accepted else {}

        def call(
            trainable: Sequence[Any],
            frozen: Sequence[Any],
            tensors: PyTree,
            masks: Mapping[str, Mask],
        ) -> Any:
            outputs, _, losses = layer.stateless_call(
                trainable, frozen, tensors, return_losses=True, **masks, **options
            )
            _check_pure(layer, outputs, losses)
            return outputs

        outputs = _route(_backend())(call)(*weights, tensors, masks)
        return jax.tree.map(lambda leaf: _in_dtype(leaf, dtype), outputs)


def _in_dtype(value: Array, dtype: DTypeLike) -> jax.Array:
    """``value`` as an array, in ``dtype`` if it holds floating point numbers."""
    array = value if isinstance(value, jax.Array) else jnp.asarray(np.asarray(value))
    return array.astype(str(dtype)) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _check_pure(layer: LiveLayer, outputs: PyTree, losses: Sequence[Any]) -> None:
    """Raises for what a call does besides returning its outputs."""
    # Regularizers of weights are among the losses; they are served where the weights are.
    if len(losses) > sum(
        getattr(variable, "regularizer", None) is not None for variable in layer.trainable_variables
    ):
        raise ConversionError(
            f"layer {layer.name} adds a loss of its own (add_loss), which cannot be served"
        )
    if any(getattr(leaf, "_keras_mask", None) is not None for leaf in jax.tree.leaves(outputs)):
        raise ConversionError(
            f"layer {layer.name} returns a masked tensor of a layer within it; register a "
            "converter for it"
        )


def _backend() -> str:
    return str(sys.modules["keras"].backend.backend())


def _route(backend: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """How a function of Keras' backend becomes one of JAX; refuses what has no way."""
    if backend == "jax":
        return lambda function: function
    if backend != "tensorflow":
        raise LayerRefused(
            f"its own call can be run on Keras' JAX and TensorFlow backends, not on {backend}"
        )
    if not is_available():
        raise LayerRefused(
            "its own call is translated by tf2jax, which is not installed: pip install "
            "'lmjax[tf2jax]'"
        )
    return through_tensorflow


def run_in_keras(layer: str | type) -> None:
    """Lets layers of a class run through Keras' own call, where there is no converter: slower to
    trace, in the layer's precision.

    Works for live models on Keras' JAX backend, and on its TensorFlow backend where tf2jax is
    installed (``lmjax[tf2jax]``). Every conversion warns of it. What a call does besides returning
    outputs (losses and masks of its own) is refused; :func:`bridge.verify` checks the rest.
    :func:`bridge.unregister_converter` takes it back.

    Args:
        layer: A class of layers, or its name, as for :func:`bridge.register_converter`.

    Raises:
        ValueError: when the class has a converter already.

    Example:
        A layer of one's own, on Keras' JAX backend.

        >>> import warnings
        >>> import keras
        >>> import lmjax.keras
        >>> class Square(keras.layers.Layer):
        ...     def call(self, x):
        ...         return x * x
        >>> model = keras.Sequential([keras.Input((2,)), Square(), keras.layers.Dense(1)])
        >>> lmjax.keras.run_in_keras(Square)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # each conversion says so
        ...     lmjax.keras.verify(model).error < 1e-6
        True
        >>> lmjax.keras.unregister_converter(Square)
    """
    add(key_for(layer), KerasCall.from_config)
