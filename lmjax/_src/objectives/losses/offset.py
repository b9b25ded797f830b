"""Losses that may be negative: what is lowered is what a loss is above its least, and a constant
beside.

How small the whole is tells when a fit has converged, so that it must be at least 0. A loss that
may be negative is split into a ``value`` of at least 0 and an ``offset`` that the outputs have no
part in; their sum is what is reported, in the history, in progress and to callbacks.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Offset:
    """What a loss offers beside :class:`lmjax.extend.Loss` whose reported value may be negative.

    Its :meth:`value` is the reported one less :meth:`offset`, and at least 0. One that takes
    weights of steps (:class:`lmjax.extend.ByStep`) has :meth:`weighted_offset`, which here is right
    where the offset is a mean over the axes before the last, too.

    Example:
        Poisson's loss, of which Keras leaves out the term that only depends on the counts.

        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.Poisson()
        >>> rates, counts = jnp.array([3.0]), jnp.array([3.0])
        >>> round(float(loss.value(rates, counts)), 4), round(float(loss.offset(counts)), 4)
        (0.0, -0.2958)
    """

    def offset(self, targets: jax.Array) -> jax.Array:
        """What is added to the value of one sample where it is reported.

        Args:
            targets: the sample's targets.

        Returns:
            A scalar.
        """
        raise NotImplementedError

    def weighted_offset(self, targets: jax.Array, weights: jax.Array) -> jax.Array:
        """The offset of one sample with weights of its steps.

        Args:
            targets: the sample's targets.
            weights: the sample's row of :meth:`~lmjax.extend.ByStep.parts`.

        Returns:
            A scalar.
        """
        of_step = self.offset
        for _ in range(weights.ndim):
            of_step = jax.vmap(of_step)
        return jnp.mean(of_step(targets) * weights)


def has_offset(loss: Any) -> bool:
    """Whether what ``loss`` reports is not its value alone."""
    return callable(getattr(loss, "offset", None))


def sum_of_offsets(loss: Any, targets: Any, weights: Any) -> float:
    """Σ wᵢ offset(targetsᵢ) over rows, 0 for a loss that has none; without weights they are 1."""
    if not has_offset(loss) or not len(targets):
        return 0.0
    targets = jnp.asarray(targets)
    if weights is not None and np.ndim(weights) > 1:
        return float(jnp.sum(jax.vmap(loss.weighted_offset)(targets, jnp.asarray(weights))))
    offsets = jax.vmap(loss.offset)(targets)
    return float(jnp.sum(offsets if weights is None else offsets * jnp.asarray(weights)))
