"""Functions of ``keras.ops`` that Functional models hold in their graph: arithmetic on tensors, and Keras' own masks.

A mask that a layer receives in a Functional model is computed in the graph by such functions, so that every masked
model has some. They have no weights and pass no mask on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp

from bridge.layers.base import KerasLayer, LayerConfig
from bridge.layers.numerics import float_dtype
from bridge.registry import add, converts

_MODULE = "keras.src.ops.numpy>"

#: Functions of one tensor, by the name of Keras' class.
UNARY: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "Absolute": jnp.abs,
    "Cos": jnp.cos,
    "Exp": jnp.exp,
    "Log": jnp.log,
    "LogicalNot": jnp.logical_not,
    "Negative": jnp.negative,
    "Sin": jnp.sin,
    "Sqrt": jnp.sqrt,
    "Square": jnp.square,
    "Tanh": jnp.tanh,
}

#: Functions of two tensors, or of a tensor and a number.
BINARY: Mapping[str, Callable[[Any, Any], jax.Array]] = {
    "Add": jnp.add,
    "Divide": jnp.divide,
    "Equal": jnp.equal,
    "Greater": jnp.greater,
    "GreaterEqual": jnp.greater_equal,
    "Less": jnp.less,
    "LessEqual": jnp.less_equal,
    "LogicalAnd": jnp.logical_and,
    "LogicalOr": jnp.logical_or,
    "Matmul": jnp.matmul,
    "Maximum": jnp.maximum,
    "Minimum": jnp.minimum,
    "Multiply": jnp.multiply,
    "NotEqual": jnp.not_equal,
    "Power": jnp.power,
    "Subtract": jnp.subtract,
    "TrueDivide": jnp.true_divide,
}

#: Functions of a tensor with an ``axis``.
REDUCTIONS: Mapping[str, Callable[..., jax.Array]] = {
    "All": jnp.all,
    "Any": jnp.any,
    "Max": jnp.max,
    "Mean": jnp.mean,
    "Min": jnp.min,
    "Sum": jnp.sum,
}

#: Constants shaped like a tensor.
LIKE: Mapping[str, Callable[..., jax.Array]] = {"OnesLike": jnp.ones_like, "ZerosLike": jnp.zeros_like}


class Operation(KerasLayer):
    """A function of ``keras.ops`` by the name of its class."""

    def compute_mask(self, inputs: Any, mask: Any) -> None:
        return None


class _Named(Operation):
    """An operation whose class stands for one function of a table."""

    function: str

    @classmethod
    def from_options(cls, function: str, config: LayerConfig) -> Self:
        """The operation for a Keras config."""
        return cls(function=function)


class Unary(_Named):
    """A function of one tensor."""

    arguments: ClassVar[tuple[str, ...]] = ("x",)

    def __call__(self, inputs: jax.Array, mask: Any = None) -> jax.Array:
        return UNARY[self.function](inputs)


class Binary(_Named):
    """A function of two tensors or numbers; a number takes the dtype of the tensor."""

    arguments: ClassVar[tuple[str, ...]] = ("x1", "x2")

    def __call__(self, inputs: Any, mask: Any = None, *, x2: Any) -> jax.Array:  # type: ignore[override]  # x2 is always there
        return BINARY[self.function](inputs, x2)


class Reduction(_Named):
    """A reduction over an axis, several, or all."""

    arguments: ClassVar[tuple[str, ...]] = ("x",)
    axis: int | tuple[int, ...] | None = None
    keepdims: bool = False

    @classmethod
    def from_options(cls, function: str, config: LayerConfig) -> Self:
        config.require("initial", None)
        return cls(function=function, axis=config.get("axis"), keepdims=config.get("keepdims", False))

    def __call__(self, inputs: jax.Array, mask: Any = None) -> jax.Array:
        return REDUCTIONS[self.function](inputs, axis=self.axis, keepdims=self.keepdims)


class Like(_Named):
    """A constant in the shape of a tensor."""

    arguments: ClassVar[tuple[str, ...]] = ("x",)
    dtype: str | None = None

    @classmethod
    def from_options(cls, function: str, config: LayerConfig) -> Self:
        return cls(function=function, dtype=config.get("dtype"))

    def __call__(self, inputs: jax.Array, mask: Any = None) -> jax.Array:
        dtype = float_dtype(inputs) if self.dtype is not None and "float" in self.dtype else self.dtype
        return LIKE[self.function](inputs, dtype=dtype)


@converts(f"{_MODULE}ExpandDims")
class ExpandDims(Operation):
    """A new axis of length 1."""

    arguments: ClassVar[tuple[str, ...]] = ("x",)
    axis: int | tuple[int, ...]

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(axis=config["axis"])

    def __call__(self, inputs: jax.Array, mask: Any = None) -> jax.Array:
        return jnp.expand_dims(inputs, self.axis)


@converts(f"{_MODULE}Transpose")
class Transpose(Operation):
    """Axes in another order; reversed by default."""

    arguments: ClassVar[tuple[str, ...]] = ("x",)
    axes: tuple[int, ...] | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        axes = config.get("axes")
        return cls(axes=None if axes is None else tuple(axes))

    def __call__(self, inputs: jax.Array, mask: Any = None) -> jax.Array:
        return jnp.transpose(inputs, self.axes)


@converts("keras.src.ops.core>Cast", "keras.src.ops.core>ConvertToTensor")
class Cast(Operation):
    """A tensor in another dtype; the dtype of the model stands for all floating-point ones."""

    arguments: ClassVar[tuple[str, ...]] = ("x",)
    dtype: str | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(dtype=config.get("dtype"))

    def __call__(self, inputs: jax.Array, mask: Any = None) -> jax.Array:
        if self.dtype is None:
            return inputs
        return inputs.astype(float_dtype(inputs) if "float" in self.dtype else self.dtype)


@converts(f"{_MODULE}Concatenate")
class ConcatenateTensors(Operation):
    """Tensors one behind the other."""

    arguments: ClassVar[tuple[str, ...]] = ("xs",)
    axis: int = 0

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(axis=config.get("axis", 0))

    def __call__(self, inputs: Any, mask: Any = None) -> jax.Array:
        return jnp.concatenate(inputs, axis=self.axis)


_TABLES: tuple[tuple[type[_Named], Mapping[str, Any]], ...] = ((Unary, UNARY), (Binary, BINARY), (Reduction, REDUCTIONS), (Like, LIKE))
for _operation, _table in _TABLES:
    for _name in _table:
        add(f"{_MODULE}{_name}", functools.partial(_operation.from_options, _name))
