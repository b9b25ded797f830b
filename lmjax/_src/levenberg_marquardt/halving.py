"""Parts of a step that the model misses because the function has kinks, where more damping would
not help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.damping import select
from lmjax._src.typing import PyTree, TreeFn

#: The gain ratio below which a step is compared with its half: below it Nielsen's rule raises λ.
POOR = 0.5

#: Of the deficit that a half may have without explanation where the function is smooth: it falls
#: with the square of the part, or faster.
_SMOOTH = 0.25


class Part(NamedTuple):
    """A part of the path of one damping, as it turned out."""

    params: Vector
    values: PyTree  #: the objective's, at ``params``
    length: jax.Array  #: of the step, in the norm of D; an upper limit where its path is bent
    #: the reduction that the Gauss-Newton model promises for its straight part
    predicted: jax.Array
    reduction: jax.Array
    acceptable: jax.Array  #: whether it may be taken

    @property
    def gain_ratio(self) -> jax.Array:
        """The reduction over the predicted one."""
        return self.reduction / jnp.where(self.predicted > 0, self.predicted, 1)


class _Halving(NamedTuple):
    chosen: Part  #: the whole, or the best part that may be taken
    share: jax.Array  #: of the path, of the last part tried
    deficit: jax.Array  #: of that part, or what of it has no explanation where that is more
    kinked: jax.Array  #: whether that part had too large a deficit for a smooth function
    go_on: jax.Array
    tried: jax.Array


def best_part(
    whole: Part,
    part_of: Callable[[jax.Array], Part],
    missed_curvature: Callable[[], jax.Array],
    noise: jax.Array,
    most: int,
    loop: TreeFn,
    cond: TreeFn,
) -> tuple[Part, jax.Array, jax.Array]:
    """(part, kinked, evaluations): what to take of a step whose ``whole`` is as given;
    ``part_of(share)`` evaluates a part of it.

    A step may gain less than predicted, by a deficit 1 - ρ, for two reasons. Where the function
    bends, a larger λ is the remedy. The second derivative of the cost along the path says how much
    the model misses by that: at a part t of the path ½t² times the ``missed_curvature()``; beyond
    it the deficit falls with t² or faster. Where residuals have kinks, as those of networks of
    ReLU, no derivative says anything of the rows that cross one, and their share of the deficit
    falls with t to the power 0.3 to 1.6 only (measured). There more damping leaves directions of
    the largest eigenvalues of JᵀJ alone, which cross most kinks for their length and in which
    nothing is left to gain: the gain ratio stays poor and λ rises without end. The same step,
    shorter, gains more.

    So a poor whole is compared with its half; as long as that has, without explanation, more than a
    quarter of the deficit, halves are tried until one is acceptable, ``most`` at the most. λ falls
    then: damping was not what the step lacked.

    ``noise`` is the largest reduction that cannot be seen. A half promises half of the whole's
    reduction, and its deficit is off by the noise over that: by an eighth, the least that would be
    called a kink, where the whole promises 16 times the noise.
    """
    poor = (
        ~(whole.acceptable & (whole.gain_ratio >= POOR))
        & (whole.predicted > 16 * noise)
        & jnp.isfinite(whole.reduction)
    )
    missed = cond(poor, missed_curvature, lambda: jnp.zeros_like(whole.predicted))

    def deficits(part: Part, share: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Of a part, and what of it is not explained by the missed curvature."""
        deficit = 1 - part.gain_ratio
        return deficit, deficit - 0.5 * share * share * missed / jnp.where(
            part.predicted > 0, part.predicted, 1
        )

    def halve(now: _Halving) -> _Halving:
        share, tried = 0.5 * now.share, now.tried + 1
        part = part_of(share)
        deficit, unexplained = deficits(part, share)
        kinked = unexplained > _SMOOTH * now.deficit  # false where the part is not finite
        better = (
            kinked
            & part.acceptable
            & (~now.chosen.acceptable | (part.reduction > now.chosen.reduction))
        )
        chosen = select(better, part, now.chosen)
        go_on = kinked & ~chosen.acceptable & (tried < most)
        return _Halving(chosen, share, jnp.maximum(deficit, unexplained), kinked, go_on, tried)

    none, one = jnp.zeros((), jnp.int32), jnp.ones_like(whole.predicted)
    start = _Halving(
        whole, one, jnp.maximum(*deficits(whole, one)), jnp.zeros_like(poor), poor, none
    )
    end = loop(lambda now: now.go_on, halve, start)
    return end.chosen, end.kinked, end.tried
