"""Evidence maximisation: how strong a regularization is, and how large the noise, by the data that
are fitted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.lapack import cholesky, cholesky_solve, solve_transposed_triangle
from lmjax._src.arrays.vectors import Vector
from lmjax._src.layerwise.layerwise_dual import LayerwiseDual
from lmjax._src.objectives.curvature import JacobianRows, NormalMatrix
from lmjax._src.objectives.linearization import Linearization
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.runtime import precision
from lmjax._src.training.bayesian.likelihood import Likelihood
from lmjax._src.typing import Array, Scalar

#: Epochs before the first change: at the first points neither the noise nor the sizes of the
#: parameters say much.
_AT_REST = 3
#: The part of the way to the new values, in logarithms, that a change goes; all of it may swing.
_SHARE = 0.5
#: The noise's first variances, as parts of that of the targets; a fit is made with each, and the
#: one of the larger evidence counts. A large one draws a network to zero that has to learn
#: something without a linear part: sin(3a)·b with noise of 0.1 from 80 rows (8 units), with all of
#: the variance from six of six starts, with half from five. With a small one they fit noise, and
#: stay there: of diabetes (350 rows, 16 units) with a tenth 20 to 80 parameters are determined in
#: place of 10. Where there is no noise it is the penalty that begins so strong.
NOISES = (0.5, 0.05)
#: Epochs in which all groups have one precision. Groups of their own from the beginning turn each
#: other off before the network has learned anything: of the yachts' resistances (308 rows, 50
#: units, a precision for each array) only the mean was left.
_TOGETHER = 30
#: Changes of so many roots of the rounding count as none: the fixed point is approached by a part
#: of the way in each epoch, and beyond that nothing of it is seen in the loss.
_SETTLED = 8.0
#: A precision may rise to so many times its first value, which turns its group off.
_MOST = 1e8


class Evidence(NamedTuple):
    """What is carried from epoch to epoch; arrays have the parameters' dtype.

    Attributes:
        groups: the number of each parameter's group beside the params, (P,) or (arrays,); int32.
        sizes: how many parameters each of K groups has, (K,).
        precisions: α, (K,).
        scale: of the mean loss in the negative logarithm of the likelihood, T.
        effective: γ, of each group: how many of its parameters the data determine, (K,).
        num_data: of the data.
        scaled: whether the noise is unknown, as in :class:`Likelihood`.
        limits: the most that ``precisions`` may become, and ``scale``.
        change: how far the logarithms have moved at last.
        epochs: that were done.
    """

    groups: Array
    sizes: Array
    precisions: Array
    scale: Scalar
    effective: Array
    num_data: Scalar
    scaled: Scalar
    limits: tuple[Scalar, Scalar]
    change: Scalar
    epochs: Scalar

    @property
    def ridge(self) -> jax.Array:
        """α/T beside the params: what the curvature of the mean loss gets as its diagonal."""
        return jnp.asarray(self.precisions)[self.groups] / self.scale

    @property
    def penalty(self) -> Penalty:
        """Σ α params² / 2T."""
        return Penalty(self.ridge / 2)

    @property
    def settled(self) -> jax.Array:
        """Whether it moves no more."""
        least = _SETTLED * float(jnp.finfo(jnp.asarray(self.change).dtype).eps) ** 0.5
        first = _TOGETHER if len(self.sizes) > 1 else _AT_REST
        return (jnp.asarray(self.epochs) > first) & (jnp.asarray(self.change) <= least)

    def updated(self, linearization: Linearization, params: Vector) -> Evidence:
        """One step of the fixed point at parameters whose mean loss, without a penalty, has this
        ``linearization``.

        γ = Σ (1 - α diag(A⁻¹)), α = γ / Σ params², T = (num_data - Σ γ) / 2 loss for the matrix A
        of the negative logarithm of the posterior: D. J. C. MacKay, "Bayesian interpolation",
        Neural Computation 4, 1992; with the Gauss-Newton matrix F. D. Foresee, M. T. Hagan, ICNN
        1997.
        Where rounding leaves no factors, everything stays.
        """
        num = len(self.sizes)
        found = effective_params(linearization.curvature, self.ridge, self.groups, num)
        usable = jnp.all(jnp.isfinite(found)) & jnp.isfinite(linearization.cost)
        effective = jnp.clip(found, 1e-6 * jnp.asarray(self.sizes), jnp.asarray(self.sizes))
        squares = _sums(jax.tree.map(jnp.square, params), self.groups, num)
        most, most_scale = self.limits
        together = jnp.sum(effective), jnp.sum(squares)
        effective_part, squares = (
            jnp.where(jnp.asarray(self.epochs) < _TOGETHER, whole, own)
            for own, whole in zip((effective, squares), together, strict=True)
        )
        precisions = effective_part / jnp.maximum(squares, effective_part / most)
        left = jnp.maximum(self.num_data - jnp.sum(effective), 1)
        scale = left / jnp.maximum(2 * linearization.cost, left / most_scale)
        scale = jnp.where(self.scaled, scale, self.scale)
        moves = usable & (jnp.asarray(self.epochs) >= _AT_REST)
        precisions, scale = (
            jnp.where(moves, old * (new / old) ** _SHARE, old)
            for old, new in ((self.precisions, precisions), (self.scale, scale))
        )
        moved = jnp.abs(jnp.log(precisions / self.precisions))
        change = jnp.maximum(jnp.max(moved), jnp.abs(jnp.log(scale / self.scale)))
        return self._replace(
            precisions=precisions,
            scale=scale,
            effective=jnp.where(usable, effective, self.effective),
            change=jnp.where(moves, change, self.change),
            epochs=jnp.asarray(self.epochs) + 1,
        )


class Prior(NamedTuple):
    """What a fit with evidence maximisation goes by."""

    groups: Array  #: the number of each parameter's group, (P,), int32
    names: tuple[str, ...]  #: of the groups
    likelihood: Likelihood
    noise: float = NOISES[0]  #: at the start: see :data:`NOISES`


def first_evidence(prior: Prior, params: Vector, cost: float) -> Evidence:
    """Before the first epoch: every group with the precision that the starting values have
    together, and the noise as large as ``prior`` says.

    Args:
        prior: of the fit.
        params: the start, (P,) or a list of arrays.
        cost: the mean loss there, which stands for the variance of targets that have none.
    """
    groups, likelihood = prior.groups, prior.likelihood
    dtype = vectors.dtype(params)
    sizes = np.bincount(groups)
    if isinstance(params, list):
        ends = np.cumsum([leaf.size for leaf in params])
        groups = np.asarray([groups[end - 1] if end else 0 for end in ends], np.int32)
    squares = sum(float(np.sum(np.square(leaf))) for leaf in jax.tree.leaves(params))
    precision_ = sizes.sum() / max(squares, float(np.finfo(dtype).tiny) ** 0.5)
    scale = float(likelihood.whole)
    if likelihood.scaled:
        cost = max(likelihood.variance or cost, float(np.finfo(dtype).tiny) ** 0.5)
        scale = likelihood.num_data / (2 * cost * prior.noise)
    else:  # there is no noise, and the penalty itself begins so much weaker
        precision_ *= prior.noise
    limits = _MOST * precision_, scale / float(np.finfo(dtype).eps) ** 1.5

    def number(value: Any) -> Any:
        return np.asarray(value, dtype)

    return Evidence(
        np.asarray(groups, np.int32),
        number(sizes),
        number(np.full(len(sizes), precision_)),
        number(scale),
        number(sizes),
        number(likelihood.num_data),
        np.asarray(likelihood.scaled),
        (number(limits[0]), number(limits[1])),
        number(np.inf),
        np.zeros((), np.int32),
    )


def effective_params(curvature: Any, ridge: jax.Array, groups: Array, num_groups: int) -> jax.Array:
    """γ of each group: the trace, over its parameters, of M (M + R)⁻¹ for the curvature M of the
    mean loss and a diagonal ``ridge`` R beside the params.

    From a factorisation of M + R, or of I + J R⁻¹ Jᵀ where J is known, which subtracts nothing.

    Returns:
        (num_groups,); NaN where rounding leaves no factors.
    """
    dtype = ridge.dtype
    if isinstance(curvature, NormalMatrix):
        return _sums(1 - ridge * inverse_diagonal(curvature, ridge), groups, num_groups)
    wide = curvature.dtype
    gram = curvature.gram(1 / ridge)
    with precision.kept(wide):
        identity = jnp.eye(gram.shape[0], dtype=wide)
        factor = cholesky(gram + identity)
        if isinstance(curvature, LayerwiseDual):
            inverse = cholesky_solve(factor, identity)
            traces = [
                jnp.zeros((), wide) if own is None else jnp.sum(inverse * own)
                for own in curvature.grams
            ]
            shares = jnp.stack(traces) / ridge.astype(wide)
        else:
            assert isinstance(curvature, JacobianRows)
            rows = curvature.jacobian.astype(wide)
            rows = solve_transposed_triangle(jnp.tril(factor).T, rows)
            shares = jnp.sum(rows * rows, axis=0) / ridge.astype(wide)
        shares = shares.astype(dtype)
    return _sums(shares, groups, num_groups)


def inverse_diagonal(curvature: NormalMatrix, ridge: jax.Array) -> jax.Array:
    """diag((M + R)⁻¹), (P,), in the dtype of ``ridge``."""
    matrix = curvature.plus_diagonal(ridge)
    with precision.kept(matrix.dtype):
        scale = jax.lax.rsqrt(jnp.diagonal(matrix))
        factor = cholesky(matrix * scale[:, None] * scale[None, :])
        identity = jnp.eye(len(scale), dtype=matrix.dtype)
        inverse = solve_transposed_triangle(jnp.tril(factor).T, identity)
        return (jnp.sum(inverse * inverse, axis=0) * scale * scale).astype(ridge.dtype)


def _sums(values: Vector, groups: Array, num_groups: int) -> jax.Array:
    """Of all numbers in each group; (num_groups,)."""
    if isinstance(values, list):
        values = jnp.stack([jnp.sum(leaf) for leaf in values])
    return jax.ops.segment_sum(values, jnp.asarray(groups), num_groups)
