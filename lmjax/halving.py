"""Parts of a step that the model misses because the function has kinks, where more damping would not help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lmjax.damping import select
from lmjax.vectors import Vector

#: The gain ratio below which a step is compared with its half: below it Nielsen's rule raises λ.
POOR = 0.5

#: Of the deficit that a half may have left where the function is smooth: it falls with the square of the part, or faster.
_SMOOTH = 0.25


class Part(NamedTuple):
    """A part of the path of one damping, as it turned out."""

    params: Vector
    values: Any  #: the objective's, at ``params``
    length: jax.Array  #: of the step, in the norm of D; an upper limit where its path is bent
    predicted: jax.Array  #: the reduction that the Gauss-Newton model promises for its straight part
    reduction: jax.Array
    acceptable: jax.Array  #: whether it may be taken

    @property
    def gain_ratio(self) -> jax.Array:
        """The reduction over the predicted one."""
        return self.reduction / jnp.where(self.predicted > 0, self.predicted, 1)


class _Halving(NamedTuple):
    chosen: Part  #: the whole, or the best part that may be taken
    share: jax.Array  #: of the path, of the last part tried
    deficit: jax.Array  #: of that part
    kinked: jax.Array  #: whether that part had too large a deficit for a smooth function
    go_on: jax.Array
    tried: jax.Array


def best_part(
    whole: Part, part_of: Callable[[jax.Array], Part], most: int, noise: jax.Array, loop: Callable[..., Any]
) -> tuple[Part, jax.Array, jax.Array]:
    """(part, kinked, evaluations): what to take of a step whose ``whole`` is as given; ``part_of(share)`` evaluates a part of it.

    A step may gain less than predicted for two reasons. Where the function bends, the deficit 1 - ρ of a part t of the path falls
    with t², as the geodesic path leaves out the curvature of the function along the step, or faster; then a larger λ is
    the remedy, and the whole is judged by itself. Where the residuals have kinks, as those of networks of ReLU, whose second
    derivatives are zero, the rows that cross one add their share whenever they do: the deficit falls with √t to t. Then more
    damping leaves only directions of the largest eigenvalues of JᵀJ, which cross most kinks for their length and in which
    nothing is left to gain, so that λ rises without end; the same step, shorter, gains more. So a poor whole is compared with its
    half; as long as that has more than a quarter of its deficit, halves are tried until one is acceptable, ``most`` at the most.
    Measured on networks of ReLU the deficit falls with t to the power 0.3 to 1.6, on those of tanh 1.7 to 5.

    ``noise`` is the largest reduction that cannot be seen: nothing is learned from steps that promise less.
    """

    def halve(now: _Halving) -> _Halving:
        share = 0.5 * now.share
        part = part_of(share)
        deficit, tried = 1 - part.gain_ratio, now.tried + 1
        kinked = deficit > _SMOOTH * now.deficit  # false where the part is not finite
        better = kinked & part.acceptable & (~now.chosen.acceptable | (part.reduction > now.chosen.reduction))
        chosen = select(better, part, now.chosen)
        return _Halving(chosen, share, deficit, kinked, kinked & ~chosen.acceptable & (tried < most), tried)

    poor = ~(whole.acceptable & (whole.gain_ratio >= POOR)) & (whole.predicted > noise) & jnp.isfinite(whole.reduction)
    none, no = jnp.zeros((), jnp.int32), jnp.zeros_like(whole.acceptable)
    start = _Halving(whole, jnp.ones_like(whole.predicted), 1 - whole.gain_ratio, no, poor, none)
    end = loop(lambda now: now.go_on, halve, start)
    return end.chosen, end.kinked, end.tried
