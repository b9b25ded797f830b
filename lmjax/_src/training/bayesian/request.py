"""What a caller asks of Bayesian regularization."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from lmjax._src.arrays.structure import spread
from lmjax._src.typing import Array, Params, PyTree

#: The names of groupings.
_NAMES = ("arrays", "one")


@dataclasses.dataclass(frozen=True)
class Bayesian:
    """Options of ``regularization="bayesian"`` in :func:`lmjax.fit`.

    The parameters of a group are thought to be normal numbers of mean zero and of one precision
    (inverse variance), which the data decide.

    Attributes:
        groups: "arrays" for one precision for each array of the parameters, such as the kernels and
            the biases of each layer; "one" for one for all; or a pytree of whole numbers like the
            parameters, or a prefix of theirs, with equal numbers for what belongs together: with
            those of a first kernel ``np.arange(inputs)[:, None] * np.ones((1, units), int)`` each
            input has a precision of its own, and those that say nothing are turned off (automatic
            relevance determination, R. M. Neal, "Bayesian Learning for Neural Networks", 1996).

    Example:
        >>> import numpy as np
        >>> import lmjax
        >>> x = np.linspace(-1, 1, 30)[:, None]
        >>> noise = 0.1 * np.random.default_rng(0).normal(size=x.shape)
        >>> line = lambda p, x: x @ p["slope"] + p["offset"]
        >>> start = {"slope": np.full((1, 1), 0.1), "offset": np.full(1, 0.1)}
        >>> result = lmjax.fit(
        ...     line, start, x, 2 * x + 1 + noise, regularization=lmjax.Bayesian("one"), verbose=0
        ... )
        >>> 1.9 < result.posterior.num_effective_params < 2.0
        True
        >>> 0.05 < result.posterior.noise_std < 0.2
        True
    """

    groups: Any = "arrays"


def group_numbers(bayesian: Bayesian, params: Params) -> tuple[Array, list[str]]:
    """The number of each parameter's group, (P,), from 0 on, and the groups' names.

    Raises:
        ValueError: ``groups`` does not fit.
    """
    groups = bayesian.groups
    paths = [
        jax.tree_util.keystr(path) or "params"
        for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]
    ]
    if isinstance(groups, str):
        if groups not in _NAMES:
            raise ValueError(
                f"groups: expected 'arrays', 'one' or a pytree of whole numbers, got {groups!r}"
            )
        one = groups == "one"
        leaves = [0 if one else number for number in range(len(paths))]
        names = ["all parameters"] if one else paths
        given: PyTree = jax.tree.unflatten(jax.tree.structure(params), leaves)
        return _whole(given, params), names
    found, numbers = np.unique(_whole(groups, params), return_inverse=True)
    return numbers.reshape(-1), [f"group {number:g}" for number in found]


def _whole(groups: PyTree, params: Params) -> Array:
    """The numbers as a vector (P,)."""
    expected = "whole numbers in a pytree like params, or a prefix of it"
    flat = spread(groups, params, np.dtype(np.float64), "groups", expected)
    if not (flat == np.round(flat)).all():
        raise ValueError("groups: expected whole numbers, got others")
    return flat.astype(np.int32)
