"""Weights of residuals, as a caller gives them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.numbers import quantities
from lmjax._src.runtime import precision
from lmjax._src.typing import Array, DType, PyTree


def root_weights(weights: PyTree, sigma: PyTree, dtype: DType) -> PyTree:
    """The factors of the residuals, a tree of arrays: the square roots of ``weights``, or
    1/``sigma``; None for neither.

    Raises:
        ValueError: both are given, or weights are negative or not finite, or sigmas not positive.
    """
    if weights is None and sigma is None:
        return None
    if weights is not None and sigma is not None:
        raise ValueError("weights, sigma: give one of them; weights are 1/sigma²")
    name, tree = ("sigma", sigma) if weights is None else ("weights", weights)

    def convert(leaf: Array) -> Array:
        if isinstance(leaf, jax.core.Tracer):
            traced = leaf.astype(precision.in_present_mode(dtype))
            return 1 / traced if weights is None else jnp.sqrt(traced)
        array = np.asarray(quantities(leaf, name, dtype))
        good = (
            np.isfinite(array) & (array > 0)
            if weights is None
            else np.isfinite(array) & (array >= 0)
        )
        if not good.all():
            wanted = "positive" if weights is None else "at least 0"
            raise ValueError(
                f"{name}: expected finite numbers, {wanted}; {int((~good).sum())} of "
                f"{array.size} are not"
            )
        return 1 / array if weights is None else np.sqrt(array)

    if not precision.is_traced(tree) and _is_list_of_numbers(tree):
        tree = np.asarray(tree, dtype)
    try:
        return jax.tree.map(convert, tree)
    except TypeError as error:
        raise ValueError(f"{name}: expected numbers; {error}") from error


def _is_list_of_numbers(tree: PyTree) -> bool:
    return (
        isinstance(tree, (list, tuple))
        and bool(tree)
        and all(isinstance(leaf, (int, float)) for leaf in tree)
    )


def spread_weights(weights: PyTree, residuals: PyTree) -> jax.Array:
    """``weights``, a tree that ``residuals`` extends and whose leaves are broadcast against theirs,
    as a vector (m,).

    Raises:
        ValueError: they do not fit.
    """
    try:
        if jax.tree_util.all_leaves([residuals]):
            weights = jnp.asarray(weights)
        whole = jax.tree.broadcast(weights, residuals)
        return jnp.concatenate(
            [
                jnp.broadcast_to(w, r.shape).reshape(-1)
                for w, r in zip(*map(jax.tree.leaves, (whole, residuals)), strict=True)
            ]
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            "weights: expected a number or a tree like the residuals, of shapes that "
            f"broadcast to theirs; {error}"
        ) from error
