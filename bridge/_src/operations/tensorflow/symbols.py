"""Functions of TensorFlow in Functional models of Keras 2, by TensorFlow's own names:
``tf.math.multiply``.

Keras 2 puts a TFOpLambda or a SlicingOpLambda into the graph for every one. Arguments have
TensorFlow's names; those that are the same in NumPy come from the table of ``keras.ops``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.layers.numerics import float_dtype
from bridge._src.operations.table import Function
from bridge._src.operations.tables import TABLE
from bridge._src.typing import Axis
from lmjax._src.typing import Array, ArrayLike, TreeFn

_Function = TypeVar("_Function", bound=TreeFn)

#: The functions by TensorFlow's canonical names, without ``tf.``.
TENSORFLOW: dict[str, Function] = {}

#: One tensor: TensorFlow's names, and the operation of ``keras.ops`` that computes the same.
_UNARY = {
    "numpy.Absolute": "math.abs abs",
    "numpy.Arccos": "math.acos",
    "numpy.Arccosh": "math.acosh",
    "numpy.Arcsin": "math.asin",
    "numpy.Arcsinh": "math.asinh",
    "numpy.Arctan": "math.atan",
    "numpy.Arctanh": "math.atanh",
    "numpy.Ceil": "math.ceil",
    "numpy.Copy": "identity",
    "numpy.Cos": "math.cos",
    "numpy.Cosh": "math.cosh",
    "numpy.Exp": "math.exp",
    "numpy.Expm1": "math.expm1",
    "numpy.Floor": "math.floor",
    "numpy.Isfinite": "math.is_finite",
    "numpy.Isinf": "math.is_inf",
    "numpy.Isnan": "math.is_nan",
    "numpy.Log": "math.log",
    "numpy.Log1p": "math.log1p",
    "numpy.LogicalNot": "math.logical_not",
    "numpy.Negative": "math.negative",
    "numpy.Reciprocal": "math.reciprocal",
    "numpy.Round": "math.round",
    "numpy.Sign": "math.sign",
    "numpy.Sin": "math.sin",
    "numpy.Sinh": "math.sinh",
    "numpy.Sqrt": "math.sqrt",
    "numpy.Square": "math.square",
    "numpy.Tan": "math.tan",
    "numpy.Tanh": "math.tanh nn.tanh",
    "math.Erf": "math.erf",
    "math.Erfc": "math.erfc",
    "math.Erfinv": "math.erfinv",
    "math.Rsqrt": "math.rsqrt",
    "nn.Elu": "nn.elu",
    "nn.LogSigmoid": "math.log_sigmoid",
    "nn.Relu": "nn.relu",
    "nn.Relu6": "nn.relu6",
    "nn.Selu": "nn.selu",
    "nn.Sigmoid": "math.sigmoid nn.sigmoid",
    "nn.Softplus": "math.softplus nn.softplus",
    "nn.Softsign": "nn.softsign",
    "core.StopGradient": "stop_gradient",
}

#: Two tensors, or a tensor and a constant.
_BINARY = {
    "numpy.Add": "math.add __operators__.add",
    "numpy.Divide": "math.divide math.truediv __operators__.truediv",
    "numpy.DivideNoNan": "math.divide_no_nan",
    "numpy.Equal": "math.equal __operators__.eq",
    "numpy.FloorDivide": "math.floordiv __operators__.floordiv compat.v1.floor_div",
    "numpy.Greater": "math.greater",
    "numpy.GreaterEqual": "math.greater_equal",
    "numpy.Less": "math.less",
    "numpy.LessEqual": "math.less_equal",
    "numpy.LogicalAnd": "math.logical_and",
    "numpy.LogicalOr": "math.logical_or",
    "numpy.LogicalXor": "math.logical_xor",
    "numpy.Maximum": "math.maximum",
    "numpy.Minimum": "math.minimum",
    "numpy.Mod": "math.floormod math.mod",
    "numpy.Multiply": "math.multiply",
    "numpy.NotEqual": "math.not_equal __operators__.ne",
    "numpy.Power": "math.pow",
    "numpy.Subtract": "math.subtract",
}

#: Reductions along axes.
_REDUCTIONS = {
    "numpy.All": "math.reduce_all",
    "numpy.Any": "math.reduce_any",
    "numpy.Max": "math.reduce_max",
    "numpy.Mean": "math.reduce_mean",
    "numpy.Min": "math.reduce_min",
    "numpy.Prod": "math.reduce_prod",
    "numpy.Std": "math.reduce_std",
    "numpy.Sum": "math.reduce_sum",
    "numpy.Var": "math.reduce_variance",
    "math.Logsumexp": "math.reduce_logsumexp",
}


def _enter(names: str, call: TreeFn, arguments: str) -> None:
    for name in names.split():
        TENSORFLOW[name] = Function(call, tuple(arguments.split()), by_name=False)


def arrays_of(*values: ArrayLike) -> list[ArrayLike]:
    """Tensors and numbers as they are, and lists of numbers, as which Keras 2 writes arrays, in the
    dtype of the first tensor.
    """
    tensors = [value for value in values if isinstance(value, jax.Array)]
    dtype = next(
        (float_dtype(tensor) for tensor in tensors if jnp.issubdtype(tensor.dtype, jnp.floating)),
        jnp.result_type(float),
    )
    arrays = [np.asarray(value) if isinstance(value, list | tuple) else value for value in values]
    return [
        jnp.asarray(array, dtype if array.dtype.kind == "f" else None)
        if isinstance(value, list | tuple)
        else value
        for array, value in zip(arrays, values, strict=True)
    ]


for _table, _arguments in ((_UNARY, "x"), (_BINARY, "x y")):
    for _operation, _names in _table.items():
        _known = TABLE[_operation]
        _first = _known.arguments[: len(_arguments.split())]
        _enter(
            _names,
            lambda *given, known=_known, first=_first: known(
                **dict(zip(first, arrays_of(*given), strict=True))
            ),
            _arguments,
        )


def symbols(*names: str) -> Callable[[_Function], _Function]:
    """Decorator: enters a function whose arguments have TensorFlow's names."""

    def enter(call: _Function) -> _Function:
        for name in names:
            TENSORFLOW[name] = Function(call, tuple(inspect.signature(call).parameters))
        return call

    return enter


def _reduction(operation: str, names: str) -> None:
    @symbols(*names.split())
    def reduced(input_tensor: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
        return TABLE[operation](x=input_tensor, axis=axis, keepdims=bool(keepdims))


for _operation, _names in _REDUCTIONS.items():
    _reduction(_operation, _names)


def listed(values: ArrayLike) -> Sequence[ArrayLike]:
    """Tensors in a list; Keras 2 drops the list around a single one."""
    return values if isinstance(values, list | tuple) else [values]
