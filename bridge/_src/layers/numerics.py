"""Small helpers shared by the layers: dtypes, Keras' rounded constants, hashable options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.description.errors import ConversionError
from lmjax._src.typing import DType

#: The most constants that layers make of their options and the sizes of their inputs, a quarter of
#: a gigabyte of float64.
MAX_TABLE = 1 << 25
#: How many are left, while those of all layers of a model count together.
_LEFT: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextmanager
def limited_tables() -> Iterator[None]:
    """Inside the block the tables of all layers together may hold :data:`MAX_TABLE` constants."""
    token = _LEFT.set([MAX_TABLE])
    try:
        yield
    finally:
        _LEFT.reset(token)


def check_table(*sizes: int) -> None:
    """Raises before a table of these sizes is made, when a configuration asks for more than any
    model needs.
    """
    total, left = math.prod(sizes), _LEFT.get()
    if total > MAX_TABLE:
        raise ValueError(
            f"its sizes ask for a table of {' × '.join(map(str, sizes))} constants; the "
            "configuration is damaged or hostile"
        )
    if left is not None:
        left[0] -= total
        if left[0] < 0:
            raise ConversionError(
                f"its layers ask for tables of more than {MAX_TABLE:,} constants; the "
                "configuration is damaged or hostile"
            )


def float_dtype(inputs: jax.Array) -> DType:
    """The dtype in which a layer computes on ``inputs``: their own, or JAX's default float for
    integers.
    """
    if jnp.issubdtype(inputs.dtype, jnp.floating):
        return np.dtype(inputs.dtype)
    return np.dtype(jnp.result_type(float))


def as_float(inputs: jax.Array) -> jax.Array:
    """``inputs`` as floating point numbers (see :func:`float_dtype`)."""
    return inputs.astype(float_dtype(inputs))


#: Flax' name of the collection of indices that layers look up, which
#: :mod:`bridge._src.training.entering` asks for before a fit.
INDICES = "indices"


def note_indices(layer: nn.Module, indices: jax.Array, size: int) -> None:
    """Puts the least and the greatest index of each row, and the ``size`` of the table, where the
    collection is asked for.
    """
    if layer.is_mutable_collection(INDICES):
        whole = indices.astype(int).reshape(indices.shape[0] if indices.ndim else 1, -1)
        layer.sow(
            INDICES,
            "used",
            jnp.stack([whole.min(axis=1), whole.max(axis=1), jnp.full(whole.shape[0], size)]),
        )


def hashable(value: Any) -> Any:
    """Lists of any depth as tuples; everything else as it is."""
    return tuple(hashable(item) for item in value) if isinstance(value, list | tuple) else value


def rounded_constant(value: Any) -> Any:
    """A constant of a Keras config (number, nested list or serialized array) as float32-rounded
    nested tuples.
    """
    if isinstance(
        value,
        dict,
        # Keras writes NumPy arrays as {"class_name": "__numpy__", "config": {"value": …, "dtype":
        # …}}
    ):
        value = value["config"]["value"]
    return hashable(np.asarray(value, np.float32).astype(float).tolist())
