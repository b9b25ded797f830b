"""What becomes of each kind of number that a caller passes: decided here, for every fit.

===============================  ===================================================================
float16 to longdouble, bfloat16  the dtype of the computation; refused where a finite number would
                                 become infinite, or where all become zero
booleans                         0 and 1 in that dtype, where they are data of a fit
integers that are quantities     that dtype, rounded once from their full width: targets, weights,
                                 measurements
integers that may be indices     integers, as wide as the computation has them (64 bits in float64,
                                 32 in float32); refused beyond, since JAX would wrap them round
objects that are real numbers    as those: a frame of mixed columns, Python integers of any size
masked and sparse arrays,        refused by name: to drop a mask or to read text as numbers would
complex, text, dates, others     fit something else
===============================  ===================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.foreign import check_kind, check_whole, from_objects, on_host
from lmjax._src.runtime import precision
from lmjax._src.runtime.meshes import automatic
from lmjax._src.typing import Array, ArrayLike, DType, NumpyArray, PyTree, Scalar


def real_array(value: ArrayLike, name: str) -> Array:
    """``value``, called ``name`` in messages, as an array of real numbers of whatever width: a JAX
    array as it is, else NumPy.

    Raises:
        TypeError: it is masked, sparse, complex, or holds something else than numbers.
        ValueError: its rows differ in length.
    """
    if isinstance(value, jax.Array):
        check_kind(value.dtype, name)
        return automatic(value)
    check_whole(value, name)
    try:
        array = np.asarray(on_host(value))
    except ValueError as error:
        raise ValueError(
            f"{name}: cannot be turned into one array ({error}); all rows need the same shape"
        ) from None
    if array.dtype.kind == "O":
        return from_objects(array, name)
    check_kind(array.dtype, name)
    return array


def quantities(value: ArrayLike, name: str, dtype: DType) -> Array:
    """``value`` in the floating-point ``dtype``, integers and booleans too.

    Raises:
        TypeError, ValueError: as :func:`real_array`; or ``dtype`` does not hold the numbers.
    """
    array = real_array(value, name)
    return array if array.dtype == dtype else _cast(array, name, dtype)


def numbers(value: ArrayLike, name: str, dtype: DType) -> Array:
    """``value`` in ``dtype``, but for integers, which may be indices: they stay integers.

    To be called in the :func:`~lmjax._src.runtime.precision.scope` of ``dtype``, which decides how
    wide integers are.

    Raises:
        TypeError, ValueError: as :func:`quantities`; or integers are beyond those of the
            computation.
    """
    array = real_array(value, name)
    if jnp.issubdtype(array.dtype, jnp.integer):
        return as_wide_as_jax(array, name)
    return array if array.dtype == dtype else _cast(array, name, dtype)


def argument(value: Any, name: str, dtype: DType) -> Array:
    """``value`` for a function of the caller's own, which may take booleans, complex numbers and
    random keys, too.
    """
    if isinstance(value, jax.core.Tracer):
        return (
            value.astype(dtype)
            if jnp.issubdtype(value.dtype, jnp.floating) and value.dtype != dtype
            else value
        )
    if not isinstance(value, jax.Array):
        check_whole(value, name)
        value = value if isinstance(value, np.ndarray) else np.asarray(on_host(value))
        if value.dtype.kind in "OMmSUT":
            value = real_array(value, name)
    value = automatic(value)
    kind = (
        value.dtype.kind
        if isinstance(value, np.ndarray) or not jnp.issubdtype(value.dtype, jax.dtypes.extended)
        else "key"
    )
    if kind in "iu":
        return as_wide_as_jax(value, name)
    return _cast(value, name, dtype) if kind == "f" and value.dtype != dtype else value


def each(
    tree: PyTree,
    name: str,
    convert: Callable[[Any, str], Any],
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """``convert(leaf, its name)`` for the leaves of ``tree``, as of ``jax.tree.map``."""
    try:
        return jax.tree.map(lambda leaf: convert(leaf, name), tree, is_leaf=is_leaf)
    except (TypeError, ValueError):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)[0]:
            # Which of them it is, told where it matters only.
            convert(leaf, f"{name}{jax.tree_util.keystr(path)}")
        raise


def as_jax(tree: PyTree, name: str) -> PyTree:
    """The leaves as JAX arrays in its present mode, for a caller's loop or trace; what they are
    called begins with ``name``.

    Raises:
        TypeError, ValueError: a leaf is none, or would not be what it was.
    """

    def convert(leaf: Any, name: str) -> jax.Array:
        if isinstance(leaf, (np.ndarray, np.generic)):
            floating = (
                np.dtype(jax.dtypes.canonicalize_dtype(leaf.dtype))
                if leaf.dtype.kind == "f"
                else np.dtype(np.float32)
            )
            leaf = argument(leaf, name, floating)
        return jnp.asarray(automatic(leaf))

    return each(tree, name, convert)


def check_captured(function: Any, name: str) -> None:
    """Refuses a callable that is a tree with integers that the computation cannot hold.

    Raises:
        ValueError: there are such; the message names the leaf.
    """

    def check(leaf: Any, name: str) -> None:
        if isinstance(leaf, (np.ndarray, np.generic, jax.Array)) and jnp.issubdtype(
            leaf.dtype, jnp.integer
        ):
            as_wide_as_jax(leaf, name)

    each(function, name, check)


def as_wide_as_jax(array: Array, name: str) -> Array:
    """Integers in the width that JAX has in its present mode.

    Raises:
        ValueError: one does not fit, and would wrap round.
    """
    if array.dtype.itemsize < 8 or jax.config.read("jax_enable_x64"):
        return array
    array = np.asarray(array)
    narrow = np.dtype(f"{array.dtype.kind}4")
    if array.size:
        least, most, limits = int(array.min()), int(array.max()), np.iinfo(narrow)
        if least < limits.min or most > limits.max:
            raise ValueError(
                f"{name}: holds {most if most > limits.max else least}, and a computation in "
                "float32 has integers of 32 bits only; pass quantities as floating-point "
                "numbers, or compute in float64"
            )
    return array.astype(narrow)


def _cast(array: Array, name: str, dtype: DType) -> Array:
    if (
        isinstance(array, jax.Array)
        and array.dtype.itemsize < 8
        and not precision.is_rounded_by_jax(dtype)
    ):
        return array.astype(dtype)
    # On the host also what JAX has in 64 bits, which its 32-bit mode would cut.
    array = np.asarray(array)
    if not (array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize):
        return array.astype(dtype)
    try:
        with np.errstate(over="raise", under="ignore"):
            narrow = array.astype(dtype)
    except FloatingPointError:
        raise ValueError(
            f"{name}: holds {_largest(array)!s}, which {dtype} does not hold; compute in "
            "float64, or scale it"
        ) from None
    if not narrow.any() and array.any():
        raise ValueError(
            f"{name}: all numbers, at most {_largest(array)!s}, are zero in {dtype}; "
            "compute in float64, or scale them"
        )
    return narrow


def _largest(array: NumpyArray) -> Scalar:
    return np.abs(array[np.isfinite(array)]).max()
