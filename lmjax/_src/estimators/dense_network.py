"""A dense network: its outputs by JAX for a fit and by NumPy for predictions, and its starts."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.typing import Array, DType, NumpyArray, Params, PyTree

#: Each from a module with NumPy's functions, and numbers.
ACTIVATIONS: dict[str, Callable[[ModuleType, Array], Array]] = {
    "identity": lambda _, z: z,
    "logistic": lambda xp, z: _logistic(xp, z),
    "relu": lambda xp, z: xp.maximum(z, 0),
    "silu": lambda xp, z: z * _logistic(xp, z),
    "softplus": lambda xp, z: xp.logaddexp(z, xp.zeros_like(z)),
    "tanh": lambda xp, z: xp.tanh(z),
}


def _logistic(xp: ModuleType, z: Array) -> Array:
    """Without exponentials that overflow."""
    return 0.5 * (1 + xp.tanh(0.5 * z))


@dataclasses.dataclass(frozen=True)
class DenseNetwork:
    """A model function, equal to every other with its activation, so that their fits share
    programs, also after pickling.

    Its parameters are a list of layers, each a dictionary of a ``kernel`` (inputs, units) and a
    ``bias`` (units,); the last one has no activation.
    """

    activation: str

    def __call__(self, params: Params, x: jax.Array) -> jax.Array:
        """The outputs, (N, outputs), by JAX."""
        return self._outputs(jnp, params, x)

    def predict(self, params: Params, x: NumpyArray) -> NumpyArray:
        """The outputs, by NumPy: arrays of any length, and nothing is compiled."""
        return np.asarray(self._outputs(np, params, x))

    def _outputs(self, xp: ModuleType, params: Params, x: Array) -> Array:
        act = ACTIVATIONS[self.activation]
        *hidden, last = params
        for layer in hidden:
            x = act(xp, x @ layer["kernel"] + layer["bias"])
        return x @ last["kernel"] + last["bias"]


def network_of(activation: Any) -> DenseNetwork:
    """The network of a name in :data:`ACTIVATIONS`.

    Raises:
        ValueError: there is none of that name.
    """
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(
            f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}; for others "
            "write the model as a function, and call lmjax.fit"
        )
    return DenseNetwork(activation)


def hidden_sizes(given: Any) -> tuple[int, ...]:
    """``hidden_layer_sizes`` as a caller passed them: whole numbers, or one.

    Raises:
        TypeError, ValueError: they are others.
    """
    sizes = given if isinstance(given, (tuple, list, np.ndarray)) else (given,)
    return tuple(arguments.whole_number(size, "hidden_layer_sizes", 1) for size in sizes)


def drawn(random: np.random.RandomState, sizes: Sequence[int], dtype: DType) -> Params:
    """Parameters of layers from ``sizes[0]`` inputs to ``sizes[-1]`` outputs.

    All are uniform, within √(6 / (inputs + outputs)) of zero (X. Glorot, Y. Bengio, AISTATS 2010).
    So are biases: with zeros, a network of one input would begin with units that all bend at the
    same place.
    """
    layers = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        reach = math.sqrt(6 / (fan_in + fan_out))
        layers.append(
            {
                "kernel": random.uniform(-reach, reach, (fan_in, fan_out)).astype(dtype),
                "bias": random.uniform(-reach, reach, fan_out).astype(dtype),
            }
        )
    return layers


def of_kernels(factor: float, params: Params) -> PyTree:
    """``factor`` for each kernel and zero for each bias."""
    return [{"kernel": factor, "bias": 0.0} for _ in params]
