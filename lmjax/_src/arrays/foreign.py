"""Which arrays of other libraries are taken, and which are refused: masked, sparse, text."""

from __future__ import annotations

from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.typing import Array, DType, NumpyArray

#: What NumPy's kinds of data that are no numbers are called.
_NAMES = {
    "M": "dates",
    "m": "time differences",
    "S": "bytes",
    "U": "text",
    "T": "text",
    "V": "records",
}


def check_whole(value: Any, name: str) -> None:
    """Refuses arrays that NumPy would turn into something else than they say: masked and sparse
    ones.

    Raises:
        TypeError: it is one of them.
    """
    if isinstance(value, np.ma.MaskedArray):
        parts = [value]
    elif isinstance(value, (list, tuple)):
        parts = [part for part in value if isinstance(part, np.ma.MaskedArray)]
    else:
        parts = []
    masked = sum(int(np.ma.getmaskarray(part).sum()) for part in parts)
    if masked:
        raise TypeError(
            f"{name}: {masked} entries are masked, and a fit takes no masked arrays; "
            "leave their rows out, or fill them"
        )
    if is_sparse(value):
        raise TypeError(
            f"{name}: a sparse {type(value).__name__} is not taken; pass a dense array, "
            "as .toarray() gives it"
        )


def on_host(value: Array) -> Array:
    """``value``, if a tensor of torch without the gradient or device that keeps NumPy from reading
    it; torch is not imported for that.
    """
    if isinstance(value, (np.ndarray, jax.Array)) or not callable(getattr(value, "detach", None)):
        return value
    value = value.detach().cpu()
    return value.float() if str(value.dtype) == "torch.bfloat16" else value


def is_sparse(value: Any) -> bool:
    """Whether ``value`` is a sparse array: of SciPy, JAX, PyData, TensorFlow or torch, none of
    which is imported for that.
    """
    if isinstance(value, (np.ndarray, jax.Array, list, tuple, dict, int, float)):
        return False
    dense = any(callable(getattr(value, method, None)) for method in ("toarray", "todense"))
    return (
        dense
        or type(value).__name__ == "SparseTensor"
        or getattr(value, "is_sparse", False) is True
    )


def check_kind(dtype: DType, name: str) -> None:
    kind = getattr(dtype, "kind", "")
    if (
        kind in "biuf"
        or jnp.issubdtype(dtype, jnp.floating)
        or (kind != "m" and jnp.issubdtype(dtype, jnp.integer))
    ):
        return  # NumPy counts time differences as integers, and says V of the numbers of ml_dtypes
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(
            f"{name}: expected real numbers, got dtype {dtype}; pass real and imaginary "
            "parts as columns of their own"
        )
    advice = (
        "subtract a date and divide by a unit first"
        if kind in "Mm"
        else "encode text and categories as numbers first"
    )
    raise TypeError(
        f"{name}: expected numbers, got {_NAMES.get(kind, 'something else')} (dtype "
        f"{dtype}); {advice}"
    )


def from_objects(array: NumpyArray, name: str) -> NumpyArray:
    """An array of Python objects as numbers, if that is what they all are."""
    for place, item in enumerate(array.flat):
        if not isinstance(item, (Real, np.bool_)):
            index = tuple(map(int, np.unravel_index(place, array.shape)))
            where = f" at {index}" if index else ""
            raise TypeError(
                f"{name}: expected numbers, got {_described(item)}{where}; encode text "
                "and categories as numbers first, fill or drop gaps"
            )
    if array.size and all(isinstance(item, (int, np.integer)) for item in array.flat):
        for width in (np.int64, np.uint64):
            if np.iinfo(width).min <= min(array.flat) and max(array.flat) <= np.iinfo(width).max:
                return array.astype(width)
    return array.astype(np.float64)


def _described(item: Any) -> str:
    text = repr(item)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(item).__name__})"
