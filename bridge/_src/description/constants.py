"""Constants among the arguments of a call: arrays and slices, as Keras serializes them and as a
graph holds them.

All of them are hashable, so that two conversions of equal models are equal and share compiled
functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from bridge._src.typing import Config
from lmjax._src.typing import ArrayLike

#: Class names under which Keras writes arrays and tensors, with their values as nested lists.
ARRAYS = ("__numpy__", "__tensor__")


@dataclass(frozen=True)
class Constant:
    """An array that a call receives in place of a tensor.

    Attributes:
        dtype: Name of its dtype; "float64" stands for every floating-point dtype, since the values
            keep their digits there and are cast to the dtype of the model.
        shape: Its shape.
        data: Its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, values: ArrayLike, dtype: str | None = None) -> Constant:
        """The constant with these values; raises ValueError for what is no array of numbers."""
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"it is called with an array of {array.dtype if dtype is None else dtype}, "
                "which holds no real numbers"
            )
        floating = array.dtype.kind == "f" or "float" in str(dtype)
        array = array.astype("float64" if floating else dtype or array.dtype)
        return cls(array.dtype.name, array.shape, array.tobytes())

    def array(self, dtype: DTypeLike) -> jax.Array:
        """Its values; those with a floating point in ``dtype``."""
        values = np.frombuffer(self.data, self.dtype).reshape(self.shape)
        return jnp.asarray(
            values.astype(
                dtype if values.dtype.kind == "f" else jax.dtypes.canonicalize_dtype(self.dtype)
            )
        )


@dataclass(frozen=True)
class Slice:
    """A slice of an axis; Python's own has no hash before Python 3.12."""

    start: Any = None
    stop: Any = None
    step: Any = None

    def __post_init__(self) -> None:
        if not all(
            bound is None or isinstance(bound, int) for bound in (self.start, self.stop, self.step)
        ):
            raise ValueError("it is called with a slice whose bounds are not whole numbers")


def decoded(serialized: Config) -> Any:
    """The constant that Keras has serialized as a mapping; raises ValueError for anything else."""
    class_name, config = serialized.get("class_name"), serialized.get("config")
    if class_name in ARRAYS and isinstance(config, Mapping):
        return Constant.of(config.get("value"), str(config.get("dtype")))
    if class_name == "__slice__" and isinstance(config, Mapping):
        return Slice(config.get("start"), config.get("stop"), config.get("step"))
    if class_name == "__ellipsis__":
        return Ellipsis
    raise ValueError(
        "it is called with something that is neither a tensor of the model nor a constant"
    )


def filled(argument: Any, dtype: DTypeLike) -> Any:
    """``argument`` with arrays in place of constants, and Python's slices; within lists and tuples
    too.
    """
    if isinstance(argument, Constant):
        return argument.array(dtype)
    if isinstance(argument, Slice):
        return slice(argument.start, argument.stop, argument.step)
    if isinstance(argument, dict):
        return {name: filled(item, dtype) for name, item in argument.items()}
    if isinstance(argument, list | tuple):
        return type(argument)(filled(item, dtype) for item in argument)
    return argument


def single(value: float) -> float:
    """``value`` rounded to float32.

    Keras' TensorFlow backend turns some Python constants into float32 tensors before it casts them
    to float64; the exact function of such a model has the rounded constant.
    """
    return float(np.float32(value))
