"""Inputs as Keras takes them: cast to the input's dtype, rank mended by one, anything else refused
with both shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.description.graph import InputSpec
from lmjax._src.typing import Array, PyTree


def prepare(x: PyTree, specs: Sequence[InputSpec], dtype: np.dtype) -> tuple[Array, ...]:
    """The arrays of ``x`` in the order of ``specs``, in the shapes and dtypes that the model takes.

    Args:
        x: One array-like, or for a model with several inputs a sequence in their order or a mapping
            by name.
        specs: The inputs of the model.
        dtype: Dtype in which the model computes; inputs that Keras declares as floating point are
            cast to it.

    Raises:
        ValueError: when the number of inputs, a shape or a dtype does not fit; the message names
            the input.
    """
    arrays = _select(x, specs)
    return tuple(
        mend(_cast(_as_array(array, spec), spec, dtype), spec)
        for array, spec in zip(arrays, specs, strict=True)
    )


def _select(x: PyTree, specs: Sequence[InputSpec]) -> list[Array]:
    names = [spec.name for spec in specs]
    if isinstance(x, Mapping):
        missing = [name for name in names if name not in x]
        if missing:
            raise ValueError(
                f"x has no entry for input {', '.join(map(repr, missing))}; given "
                f"{list(x)}, expected {names}"
            )
        return [x[name] for name in names]
    if len(specs) == 1:
        return (
            [x[0]]
            if isinstance(x, (tuple, list)) and len(x) == 1 and hasattr(x[0], "shape")
            else [x]
        )
    if not isinstance(x, (tuple, list)) or len(x) != len(specs):
        given = f"{len(x)} arrays" if isinstance(x, (tuple, list)) else type(x).__name__
        raise ValueError(
            f"the model has {len(specs)} inputs ({', '.join(names)}); x must be a list of "
            f"as many arrays, given {given}"
        )
    return list(x)


def in_order(x: PyTree, specs: Sequence[InputSpec]) -> PyTree:
    """``x`` without names: a mapping becomes a list in the order of the model's inputs.

    Raises:
        ValueError: ``x`` lacks an input, or is no list of as many arrays as the model has inputs,
            if that is several.
    """
    return _select(x, specs) if isinstance(x, Mapping) or len(specs) > 1 else x


def _as_array(array: Array, spec: InputSpec) -> Array:
    if not isinstance(array, jax.Array):
        try:
            array = np.asarray(array)
        except ValueError as error:
            raise ValueError(
                f"input {spec.name!r} cannot be turned into an array: {error}"
            ) from None
        if array.dtype.kind not in "biuf" and array.dtype.name not in ("bfloat16", "float16"):
            raise ValueError(
                f"input {spec.name!r} holds {array.dtype} values; the model takes numbers "
                f"({spec.dtype})"
            )
    return array


def _cast(array: Array, spec: InputSpec, dtype: np.dtype) -> Array:
    wanted = dtype if "float" in spec.dtype else jax.dtypes.canonicalize_dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    if (
        isinstance(array, np.ndarray)
        and array.dtype.kind in "iu"
        and np.dtype(wanted).kind in "iu"
        and array.size
    ):
        limits = np.iinfo(wanted)
        worst = max(int(array.max()), int(array.min()), key=abs)
        # Keras cuts off what does not fit in a smaller dtype.
        if "64" in spec.dtype and not limits.min <= worst <= limits.max:
            raise ValueError(
                f"input {spec.name!r} holds {worst}, which does not fit in {wanted}; "
                "convert the model with dtype='float64'"
            )
    return array.astype(wanted)


def mend(array: Array, spec: InputSpec) -> Array:
    """``array`` with a last axis of length 1 added or removed where Keras does so, and floats cast
    to an integer input.

    Raises:
        ValueError: when the shape does not fit ``spec``; the message names the input, given and
            expected shape.
    """
    given, rank = array.shape, len(spec.shape) + 1
    if array.ndim == rank + 1 and given[-1] == 1:
        array = array[..., 0]
    elif array.ndim == rank - 1 and array.ndim > 0 and spec.shape[-1] == 1:
        array = array[..., None]
    fits = array.ndim == rank and all(
        size in (None, actual) for size, actual in zip(spec.shape, array.shape[1:], strict=True)
    )
    if not fits:
        hint = (
            "; a single sample needs a batch axis in front (x[None])"
            if len(given) == rank - 1
            else ""
        )
        raise ValueError(
            f"input {spec.name!r} has shape {tuple(given)}, but the model takes {spec}{hint}"
        )
    if "int" in spec.dtype and jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jax.dtypes.canonicalize_dtype(spec.dtype))
    return array
