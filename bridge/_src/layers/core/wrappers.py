"""Layers around other layers: TimeDistributed, Bidirectional, SpectralNormalization, Pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers

from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.nested import convert
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.pieces import joined
from bridge._src.layers.registry import converts
from bridge._src.layers.rnn.recurrent import RNN
from bridge._src.typing import Config, Mask
from lmjax._src.typing import Array, PyTree


@converts("TimeDistributed")
class TimeDistributed(KerasLayer):
    """A layer applied to each time step of (batch, time, …), as one batch of batch · time samples.

    The inner layer gets a mask only where there is one for each of its own time steps (batch, time,
    steps).
    """

    layer: KerasLayer

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(layer=convert(config["layer"]))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> PyTree:
        batch, time = inputs.shape[:2]
        steps = (
            None if mask is None or mask.ndim < 3 else mask.reshape(batch * time, *mask.shape[2:])
        )
        outputs = self.layer(inputs.reshape(batch * time, *inputs.shape[2:]), mask=steps)
        return outputs.reshape(batch, time, *outputs.shape[1:])


#: How Bidirectional merges the outputs of its two layers.
MERGE_MODES: Mapping[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "concat": lambda forward, backward: joined([forward, backward]),
    "sum": jnp.add,
    "ave": lambda forward, backward: (forward + backward) / 2,
    "mul": jnp.multiply,
}


@converts("Bidirectional")
class Bidirectional(KerasLayer):
    """A recurrent layer run in both directions of time, its outputs merged (or both returned).

    Masked outputs of sequences are 0, whatever the inner layers say.
    """

    arguments: ClassVar[tuple[str, ...]] = ("sequences", "initial_state", "mask")
    config_names: ClassVar[Mapping[str, str]] = MappingProxyType({"forward_layer": "layer"})
    forward_layer: RNN
    backward_layer: RNN
    merge_mode: str | None = "concat"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        forward = _recurrent(config["layer"])
        given = config.get("backward_layer")
        # Built once more: a clone would share its cell, and so its parameters, with the forward
        # layer.
        backward = (
            _recurrent(config["layer"]).clone(go_backwards=not forward.go_backwards)
            if given is None
            else _recurrent(given)
        )
        merge_mode = config.require("merge_mode", "concat", *MERGE_MODES, None)
        forward, backward = (
            layer.clone(zero_output_for_mask=layer.return_sequences)
            for layer in (forward, backward)
        )
        return cls(forward_layer=forward, backward_layer=backward, merge_mode=merge_mode)

    def compute_mask(self, inputs: PyTree, mask: jax.Array | None) -> Mask:
        kept = mask if self.forward_layer.return_sequences else None
        return kept if self.merge_mode else (kept, kept)

    def __call__(
        self, inputs: jax.Array, mask: jax.Array | None = None, initial_state: Array = None
    ) -> PyTree:
        half = 0 if initial_state is None else len(initial_state) // 2
        starts = (initial_state[:half], initial_state[half:]) if half else (None, None)
        results = [
            layer(inputs, mask, start)
            for layer, start in zip((self.forward_layer, self.backward_layer), starts, strict=True)
        ]
        states: tuple[Any, ...] = ()
        if self.forward_layer.return_state:
            states = (*results[0][1:], *results[1][1:])
            results = [result[0] for result in results]
        forward, backward = results
        if self.forward_layer.return_sequences:
            backward = jnp.flip(backward, axis=1)
        merged = (
            MERGE_MODES[self.merge_mode](forward, backward)
            if self.merge_mode
            else (forward, backward)
        )
        if not states:
            return merged
        return (*merged, *states) if isinstance(merged, tuple) else (merged, *states)


def _recurrent(serialized: Config) -> RNN:
    layer = convert(serialized)
    if not isinstance(layer, RNN):
        raise LayerRefused(f"its inner layer {serialized['class_name']} is not recurrent")
    return layer


@converts("SpectralNormalization")
class SpectralNormalization(KerasLayer):
    """The inner layer: its kernel is only normalised during training (Miyato et al., 2018).

    Parameters: vector_u (1, outputs), which does not act at inference.
    """

    layer: KerasLayer

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("power_iterations")  # of the training
        return cls(layer=convert(config["layer"]))

    def weights(self) -> tuple[Weight, ...]:
        return Weight("kernel", alias=True), Weight("vector_u", trainable=False)

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> PyTree:
        outputs = self.layer(inputs)
        self.param("vector_u", initializers.zeros, (1, outputs.shape[-1]), float_dtype(outputs))
        return outputs.astype(inputs.dtype)  # integers for integers, as in Keras


@converts("Pipeline")
class Pipeline(KerasLayer):
    """Layers one after the other."""

    layers: tuple[KerasLayer, ...]

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(layers=tuple(convert(layer) for layer in config["layers"]))

    def compute_mask(self, inputs: PyTree, mask: Mask) -> Mask:
        return None

    def __call__(self, inputs: PyTree, mask: Mask = None) -> PyTree:
        for layer in self.layers:
            inputs, mask = layer(inputs, mask=mask), layer.compute_mask(inputs, mask)
        return inputs
