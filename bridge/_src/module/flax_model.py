"""A Keras model as a pure function of its parameters."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from bridge._src.description.graph import LayerGraph
from bridge._src.description.inputs import prepare
from bridge._src.description.variables import LiveVariables
from bridge._src.description.weights import WeightTable, merge
from bridge._src.module.keras_graph import ACTIVITY, SIZES, KerasGraph
from bridge._src.module.renaming import for_flax
from bridge._src.module.report import table_of
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.precision import is_rounded_by_jax, is_traced, scope
from lmjax._src.typing import Array, DType, Params, PyTree


@dataclass(frozen=True, eq=False)
class FlaxModel:
    """A converted Keras model with inference semantics: a pure function of its parameters, which
    :func:`lmjax.fit`, ``jax.grad`` or Optax can take.

    :func:`from_keras` makes one. Calling it is :meth:`apply`; printing it gives a table of layers.

    Attributes:
        module: The Flax module.
        params: Trainable weights: nested dictionary of NumPy arrays under Keras' layer names, in
            Keras' shapes.
        state: Every frozen weight, nested alike.
        table: The weight table.
        graph: The layer graph that was read.
        dtype: Dtype of the floating-point weights, in which the model computes.
        variables: Those of the live model that was read; None for a file.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> layers = [keras.Input((2,)), keras.layers.Dense(1, name="out")]
        >>> converted = lmjax.keras.from_keras(keras.Sequential(layers))
        >>> isinstance(converted, lmjax.keras.FlaxModel)
        True
        >>> params = {"out": {"kernel": np.array([[1.0], [2.0]]), "bias": np.array([0.5])}}
        >>> converted(params, np.array([[3.0, 4.0]])).tolist()
        [[11.5]]
    """

    module: KerasGraph
    params: Params
    state: Params
    table: WeightTable
    graph: LayerGraph
    dtype: DType
    variables: LiveVariables | None = None

    def apply(self, params: Params, x: PyTree) -> PyTree:
        """The outputs for ``x`` with ``params`` in place of the model's own.

        Outside of JAX transformations the call is compiled, in the precision of ``params``,
        whatever JAX's global switch says; double precision results are NumPy arrays when that
        switch is off, since a JAX array would be rounded by the next operation. Under ``jit``,
        ``vmap``, ``jacfwd``, … this is a plain pure function.

        Args:
            params: Nested dictionary shaped like :attr:`params`.
            x: Array (batch, …), or a list or dictionary of arrays for several inputs. Cast and
                mended in rank as Keras does.

        Returns:
            The model's outputs: an array (batch, …), or a list or dictionary of them.

        Raises:
            ValueError: when the shape or dtype of ``x`` does not fit.
        """
        dtype = _dtype_of(params, self.dtype)
        if is_traced((params, x)):
            return _forward(self.module, params, self.state, x, dtype)
        with scope(dtype):
            arrays = prepare(x, self.module.inputs, dtype)
            outputs = _compiled(self.module, params, self.state, arrays, dtype)
        # Constants inside a caller's jit: the caller's mode counts there, too.
        if is_traced(outputs):
            return _forward(self.module, params, self.state, x, dtype)
        if is_rounded_by_jax(dtype):
            return jax.tree.map(np.asarray, outputs)
        return outputs

    __call__ = apply

    def pure(self) -> Partial:
        """The model as a function that JAX can take as an argument.

        Two conversions of equal models give functions that share compiled code.

        Returns:
            ``f(params, x)`` as a pytree: the frozen weights are its leaves, the architecture its
            static part.
        """
        return Partial(_Apply(self.module, str(self.dtype)), self.state)

    def with_activity(self, sizes_alone: bool = False) -> Partial:
        """Like :meth:`pure`, with everything in one row for each sample: outputs, then what
        activity regularizers see.

        That is first what L2 sees, times the square roots of its factors, so that the penalty is
        the sum of squares, and then what L1 sees, times its factors, so that it is the sum of
        absolute values.

        Args:
            sizes_alone: whether to return what L1 sees only.

        Returns:
            ``f(params, x)`` to an array (batch, …) of rank 2.
        """
        activity = _Activity.SIZES if sizes_alone else _Activity.ROW
        return Partial(_Apply(self.module, str(self.dtype), activity), self.state)

    def __repr__(self) -> str:
        return table_of(self.graph, self.module, self.table)


class _Activity(enum.Enum):
    """Whether the row has what activity regularizers see."""

    NONE = "none"
    ROW = "row"
    SIZES = "sizes"  # what L1 sees, and nothing else


@dataclass(frozen=True)
class _Apply:
    """The static part of :meth:`FlaxModel.pure`: hashable, equal for equal architectures."""

    module: KerasGraph
    dtype: str
    activity: _Activity = _Activity.NONE

    def __call__(self, state: Params, params: Params, x: PyTree) -> PyTree:
        return _forward(
            self.module, params, state, x, _dtype_of(params, np.dtype(self.dtype)), self.activity
        )


def _dtype_of(params: Params, default: DType) -> DType:
    """The widest floating-point dtype among the leaves of ``params``; ``default`` when there is
    none.
    """
    # JAX's own would round float64 outside its scope.
    dtypes = [
        np.dtype(getattr(leaf, "dtype", None) or np.result_type(leaf))
        for leaf in jax.tree.leaves(params)
    ]
    floats = [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)]
    if not floats:
        return default
    return np.dtype(max(floats, key=lambda dtype: dtype.itemsize))


def _forward(
    module: KerasGraph,
    params: Params,
    state: Params,
    x: PyTree,
    dtype: DType,
    activity: _Activity = _Activity.NONE,
) -> PyTree:
    # In JAX's 32-bit mode float64 constants would meet float32 ones; what the mode cannot hold is
    # rounded here.
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    inputs = prepare(x, module.inputs, dtype)
    module, merged = for_flax(module, merge(params, state))
    weights = jax.tree.map(partial(_cast, dtype=dtype), merged)
    if activity is _Activity.NONE:
        return module.apply({"params": weights}, inputs)
    outputs, seen = module.apply({"params": weights}, inputs, mutable=[ACTIVITY])
    squares, sizes = _seen(dict(seen))
    row = sizes if activity is _Activity.SIZES else [*jax.tree.leaves(outputs), *squares, *sizes]
    rows = [leaf.reshape(leaf.shape[0], -1) for leaf in row]
    return jnp.concatenate(rows, axis=1)


def _seen(activity: PyTree) -> tuple[list[Array], list[Array]]:
    """What counts by its squares, and what by its sizes."""
    found: tuple[list[Array], list[Array]] = [], []
    for path, leaf in jax.tree_util.tree_leaves_with_path(activity):
        # …, name, number of the call
        found[path[-2].key == SIZES].append(leaf)
    return found


def _cast(leaf: Array, dtype: DType) -> Array:
    return leaf.astype(dtype, copy=False) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


_compiled = recent(static_argnums=(0, 4))(_forward)
