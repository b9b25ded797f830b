"""Turning what a caller passes into arrays of one dtype, with errors that say what to do."""

from __future__ import annotations

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.foreign import check_whole
from lmjax._src.arrays.numbers import argument, each
from lmjax._src.runtime import precision
from lmjax._src.runtime.meshes import automatic
from lmjax._src.typing import DType, Params, PyTree, TreeFn


def floating_dtype(params: Params) -> DType:
    """The dtype in which a fit of ``params`` runs: the widest of its leaves; integers count as
    float64.

    Raises:
        ValueError: there are no parameters.
        TypeError: a leaf is not a real number or an array of them, or is narrower than float32.
    """
    leaves = jax.tree.leaves(params)
    if sum(int(np.size(leaf)) for leaf in leaves) == 0:
        raise ValueError(
            "params: there are no parameters to fit; expected a pytree with at least one number"
        )
    for leaf in leaves:
        if isinstance(leaf, np.ma.MaskedArray):
            check_whole(leaf, "params")
    dtypes = {np.dtype(getattr(leaf, "dtype", None) or np.asarray(leaf).dtype) for leaf in leaves}
    if not dtypes <= _FLOATING | _INTEGER:
        _refuse_leaves(params)
    if dtypes & _INTEGER:
        # JAX arrays of integers come from a caller in whichever mode JAX is in; others from NumPy,
        # where floats are double.
        dtypes.add(
            np.dtype(jnp.result_type(float))
            if any(isinstance(leaf, jax.Array) for leaf in leaves)
            else np.dtype(np.float64)
        )
    return np.result_type(*(dtypes & _FLOATING))


_FLOATING = frozenset(map(np.dtype, (np.float32, np.float64)))
_INTEGER = frozenset(
    map(
        np.dtype, (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
    )
)


def _refuse_leaves(params: Params) -> None:
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        name, dtype = (
            f"params{jax.tree_util.keystr(path)}",
            np.dtype(getattr(leaf, "dtype", None) or np.asarray(leaf).dtype),
        )
        if dtype in _FLOATING | _INTEGER:
            continue
        if np.issubdtype(dtype, np.complexfloating):
            raise TypeError(
                f"{name}: expected real numbers, got dtype {dtype}; fit real and "
                "imaginary parts as separate parameters"
            )
        if dtype in (jnp.bfloat16, np.float16):
            raise TypeError(
                f"{name}: {dtype} is too narrow for least squares; pass float32 or "
                "float64 parameters"
            )
        raise TypeError(f"{name}: expected float32 or float64 numbers, got dtype {dtype}")


def as_dtype(tree: PyTree, dtype: DType, name: str = "args") -> PyTree:
    """The leaves as arrays, floating-point ones in ``dtype``; NumPy stays NumPy until it meets JAX.

    Raises:
        TypeError, ValueError: as :func:`lmjax._src.arrays.numbers.argument`; the message names the
            leaf.
    """
    return each(tree, name, lambda leaf, leaf_name: argument(leaf, leaf_name, dtype))


def as_pytree_callable(function: TreeFn, name: str) -> TreeFn:
    """``function`` as a pytree: itself if it is one (its array leaves are then data of a compiled
    step), else wrapped.

    Raises:
        TypeError: ``function`` cannot be called or has no hash, by which compiled programs are
            found again.
    """
    if not callable(function):
        raise TypeError(f"{name}: expected a function, got {type(function).__name__}")
    if not jax.tree_util.all_leaves([function]):
        return cast("TreeFn", automatic(function))
    try:
        hash(function)
    except TypeError:
        raise TypeError(
            f"{name}: {function!r} has no hash, so its compiled step could not be found "
            "again; wrap it in a function"
        ) from None
    return jax.tree_util.Partial(function)


def returned(tree: PyTree, dtype: DType) -> PyTree:
    """Results as the caller should get them: NumPy for float64 while JAX's global mode would round
    it, else JAX arrays.
    """
    if precision.is_rounded_by_jax(dtype) and not precision.is_traced(tree):
        return jax.tree.map(np.asarray, tree)
    return tree


def momentum(value: Any) -> float:
    """``value`` if it is at least 0 and below 1.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, (int, float, np.floating)) and 0 <= value < 1:
        return float(value)
    raise ValueError(f"momentum: expected a number of at least 0 and below 1, got {value!r}")


def whole_number(value: Any, name: str, least: int) -> int:
    """``value`` as an integer if it is a whole number of at least ``least``.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def real_number(value: Any, name: str, least: float = -math.inf) -> float:
    """``value`` as a float if it is a number of at least ``least``.

    Raises:
        ValueError: it is not, or it is NaN.
    """
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = float(value)
        if number >= least:
            return number
    limit = "" if least == -math.inf else f" of at least {least:g}"
    raise ValueError(f"{name}: expected a number{limit}, got {value!r}")


def probability(value: Any, name: str) -> float:
    """A caller's ``value`` as a number between 0 and 1, both left out.

    Raises:
        ValueError: it is none.
    """
    number = real_number(value, name)
    if not 0 < number < 1:
        raise ValueError(
            f"{name}: expected a probability between 0 and 1, got {value!r}; 0.95 for 95 per cent"
        )
    return number
