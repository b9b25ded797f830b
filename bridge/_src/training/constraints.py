"""Keras' weight constraints, by projection of the trial point.

Keras applies a constraint after every update of its optimizer. Here every trial point is projected
before its loss is judged, so that the fitted weights satisfy it. A weight at the bound of NonNeg
that would leave it is held for the step; a norm at its limit is only projected, so that a fit may
end there without a status of convergence.

MinMaxNorm with a ``rate`` below one takes norms a part of the way with each of the many small
updates of an optimizer. The steps here are few and long, and all the way is what applying the
constraint again and again comes to: that is where trial points are taken. So the outcome is that of
``rate=1``, and with ``rate=0``, with which Keras' constraint changes nothing, there is none.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.description.identity import key_of
from bridge._src.description.regularizers import options_of
from bridge._src.typing import Serialized
from lmjax._src.typing import Array, Params, PyTree, Shape

#: The least and the largest norm that a constraint allows by default.
_NORMS = {"UnitNorm": (1.0, 1.0), "MaxNorm": (0.0, 2.0), "MinMaxNorm": (0.0, 1.0)}


class Limits(NamedTuple):
    """What a constraint allows: values from ``lower`` on; norms over ``axes`` (None for no norm)
    between the other two.
    """

    lower: float = -math.inf
    axes: tuple[int, ...] | None = None
    smallest: float = 0.0
    largest: float = math.inf


def limits_of(constraint: Serialized, shape: Shape) -> Limits | None:
    """The limits of a serialized Keras constraint of a weight of that ``shape``; None for one that
    cannot be served.
    """
    if constraint is None:
        return Limits()
    key, config = key_of(constraint, "constraints"), options_of(constraint)
    if key == "NonNeg":
        return Limits(lower=0.0)
    if key not in _NORMS:
        return None
    axes = _axes(config.get("axis", 0), len(shape))
    defaults, rate = _NORMS[key], float(config.get("rate", 1.0))
    smallest = float(config.get("min_value", defaults[0]))
    largest = float(config.get("max_value", defaults[1]))
    if axes is None or not 0 <= rate <= 1 or smallest > largest:
        return None
    return Limits(axes=axes, smallest=smallest, largest=largest) if rate else Limits()


def _axes(given: Any, ndim: int) -> tuple[int, ...] | None:
    """The axes of an option of a constraint, from 0; None where the weight has no such axis."""
    if given is None:
        return tuple(range(ndim))
    axes = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    return tuple(axis % ndim for axis in axes) if all(-ndim <= a < ndim for a in axes) else None


class FeasibleWeights(NamedTuple):
    """The weights that satisfy all constraints, as an
    :class:`lmjax.extend.FeasibleSet`.

    Every weight belongs to a group, whose norm has limits; the weights without a norm constraint
    share the first one.
    """

    lower: Array  #: (P,)
    group: Array  #: (P,), number of the weight's group
    smallest: Array  #: (groups,)
    largest: Array  #: (groups,)

    def project(self, params: jax.Array) -> jax.Array:
        """The nearest weights; a group of zeros with a smallest norm stays, as in Keras."""
        params = jnp.maximum(params, self.lower)
        squares = jnp.zeros_like(self.smallest).at[self.group].add(jnp.square(params))
        norms = jnp.sqrt(squares)
        wanted = jnp.clip(norms, self.smallest, self.largest)
        factors = jnp.where(
            (wanted != norms) & (norms > 0), wanted / jnp.where(norms > 0, norms, 1), 1
        )
        projected: jax.Array = params * factors[self.group]
        return projected

    def free(self, params: jax.Array, gradient: jax.Array) -> jax.Array:
        """All but those at their lower bound that the descent direction leaves."""
        held: jax.Array = (params <= self.lower) & (gradient > 0)
        return ~held

    def beyond(self, params: jax.Array) -> None:
        """A norm is no limit of one weight."""

    @property
    def known(self) -> None:
        """No weight has only one value."""


def feasible_weights(limits: PyTree, params: Params) -> FeasibleWeights:
    """The set for ``params`` (a tree of arrays), from :class:`Limits` in place of each of its
    arrays.
    """
    lower, groups, smallest, largest = [], [], [0.0], [math.inf]
    leaves = jax.tree.leaves(params)
    dtype = np.result_type(*leaves)
    for leaf, allowed in zip(
        leaves, jax.tree.leaves(limits, is_leaf=lambda node: isinstance(node, Limits)), strict=True
    ):
        lower.append(np.full(leaf.size, allowed.lower, dtype))
        group = np.zeros(leaf.shape, int)
        if allowed.axes is not None:
            shape = [1 if axis in allowed.axes else size for axis, size in enumerate(leaf.shape)]
            group += len(smallest) + np.arange(math.prod(shape)).reshape(shape)
            smallest += [allowed.smallest] * math.prod(shape)
            largest += [allowed.largest] * math.prod(shape)
        groups.append(group.reshape(-1))
    return FeasibleWeights(
        np.concatenate(lower),
        np.concatenate(groups),
        np.asarray(smallest, dtype),
        np.asarray(largest, dtype),
    )
