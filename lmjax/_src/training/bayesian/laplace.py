"""From where a fit with evidence maximisation has ended to a posterior."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import precision
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.user_warnings import warn
from lmjax._src.training.bayesian.evidence import Evidence, Prior
from lmjax._src.training.bayesian.posterior import Posterior
from lmjax._src.typing import NumpyArray, PyTree

#: Data that are left out in turn, at the most, spread evenly over all.
_MOST_SCORES = 10_000


#: So large a part of the data, taken up by parameters, leaves no estimate of the noise.
_INTERPOLATES = 0.98


class _Covariance(NamedTuple):
    """Of the parameters: W Wᵀ, or diag(deviations²) - W Wᵀ."""

    root: NumpyArray
    deviations: NumpyArray | None
    log_determinant: float  #: of its inverse


def evidence_of(
    objective: SupervisedObjective, flat: Vector, evidence: Evidence, prior: Prior
) -> float:
    """The logarithm of the evidence."""
    return _approximation(objective, flat, evidence, prior).log_evidence


class End(NamedTuple):
    """Where a fit with evidence maximisation has ended."""

    flat: Vector  #: the parameters that are returned, (P,) or a list of arrays
    evidence: Evidence  #: of the last epoch
    prior: Prior
    #: makes the model's inputs of what a caller predicts from; None for those as they are
    inputs: Callable[[PyTree], PyTree] | None = None

    def in_short(self) -> str:
        """What was found of the parameters and the noise."""
        effective, all_of_them = (
            float(np.sum(numbers)) for numbers in (self.evidence.effective, self.evidence.sizes)
        )
        text = f"{effective:.1f} of {all_of_them:.0f} parameters determined"
        if not self.prior.likelihood.scaled:
            return text
        noise = math.sqrt(self.prior.likelihood.whole / (2 * float(self.evidence.scale)))
        return f"{text}, noise {noise:.3g}"


def warn_of_interpolation(ends: Sequence[End]) -> None:
    """Warns where the first of ``ends`` has left nothing of the data for the noise."""
    if not ends:
        return
    likelihood, effective = ends[0].prior.likelihood, float(np.sum(ends[0].evidence.effective))
    if likelihood.scaled and effective > _INTERPOLATES * likelihood.num_data:
        warn(
            f"regularization: {effective:.1f} parameters are determined by {likelihood.num_data} "
            "numbers, which leaves nothing for their noise, so that deviations and intervals mean "
            "little; begin from weights that have not been fitted to the data before (restarts=5 "
            "draws some), or take a smaller network"
        )


def posterior_of(objective: SupervisedObjective, end: End) -> Posterior:
    """The posterior there; float64, from one linearization in the precision of the fit."""
    flat, evidence, prior, inputs = end
    found = _approximation(objective, flat, evidence, prior)
    effective = np.asarray(evidence.effective, np.float64)
    precisions = np.asarray(evidence.precisions, np.float64)
    posterior = Posterior(
        float(effective.sum()),
        found.log_evidence,
        dict(zip(prior.names, precisions.tolist(), strict=True)),
        dict(zip(prior.names, effective.tolist(), strict=True)),
        found.noise,
        vectors.size(flat),
        objective.model,
        found.params,
        objective.structure,
        found.covariance.root,
        found.covariance.deviations,
        np.zeros(0),
        prior.likelihood.chances,
        None,
    )
    scores = posterior._scores
    if found.noise is not None:
        scores = _scores(posterior, objective, found.noise)
    return dataclasses.replace(posterior, _scores=scores, _inputs=inputs)


class _Approximation(NamedTuple):
    params: NumpyArray  #: (P,), float64
    covariance: _Covariance
    log_evidence: float
    noise: float | None


def _approximation(
    objective: SupervisedObjective, flat: Vector, evidence: Evidence, prior: Prior
) -> _Approximation:
    structure, likelihood = objective.structure, prior.likelihood
    with precision.scope(vectors.dtype(flat)):
        point: NumpyArray = np.asarray(structure.flatten(flat) if isinstance(flat, list) else flat)
        plain = dataclasses.replace(objective, layerwise=False).summed(in_double=True)
        few = plain.num_residuals(jnp.asarray(point)) < point.size
        form = Form.DUAL if few else Form.NORMAL
        curvature, loss = jax.tree.map(np.asarray, _curvature(form, plain, point))
    alpha = np.asarray(evidence.precisions, np.float64)[prior.groups]
    scale, wide = float(evidence.scale), np.asarray(point, np.float64)
    covariance = (_from_rows if few else _from_matrix)(
        np.asarray(curvature, np.float64), alpha, scale
    )
    energy = scale * float(loss) + 0.5 * float(alpha @ wide**2)
    log_evidence = -energy + 0.5 * (float(np.log(alpha).sum()) - covariance.log_determinant)
    if not likelihood.scaled:
        return _Approximation(wide, covariance, log_evidence, None)
    beta = 2 * scale / likelihood.whole
    log_evidence += 0.5 * (
        likelihood.num_data * math.log(beta / (2 * math.pi)) + likelihood.log_weights
    )
    return _Approximation(wide, covariance, log_evidence, 1 / math.sqrt(beta))


@recent(static_argnums=(0,))
def _curvature(
    form: Form, objective: SupervisedObjective, flat: jax.Array
) -> tuple[PyTree, jax.Array]:
    """JᵀJ, or J where there are fewer rows than parameters, and the mean loss."""
    linearization = objective.linearize(flat, form)
    found = linearization.curvature
    return (found.matrix if form is Form.NORMAL else found.jacobian), linearization.cost


def _from_matrix(matrix: NumpyArray, alpha: NumpyArray, scale: float) -> _Covariance:
    """From the curvature of the mean loss, (P, P)."""
    root, determinant = _inverse_root(scale * matrix + np.diag(alpha))
    return _Covariance(root, None, determinant)


def _from_rows(jacobian: NumpyArray, alpha: NumpyArray, scale: float) -> _Covariance:
    """From J, (m, P), with m below P, by the formula of Sherman, Morrison and Woodbury."""
    deviations, count = 1 / np.sqrt(alpha), len(jacobian)
    scaled = jacobian * deviations
    root, determinant = _inverse_root(scaled @ scaled.T + np.eye(count) / scale)
    determinant += float(np.log(alpha).sum()) + count * math.log(scale)
    return _Covariance(deviations[:, None] * (scaled.T @ root), deviations, determinant)


def _inverse_root(matrix: NumpyArray) -> tuple[NumpyArray, float]:
    """W with W Wᵀ the inverse of ``matrix``, and the logarithm of its determinant; where rounding
    leaves it indefinite, of the nearest that is not.
    """
    units = 1 / np.sqrt(np.diagonal(matrix))
    scaled = matrix * units[:, None] * units[None, :]
    try:
        triangle = np.linalg.cholesky(scaled)
        root, logs = np.linalg.inv(triangle).T, 2 * np.log(np.diagonal(triangle))
    except np.linalg.LinAlgError:
        values, directions = np.linalg.eigh(scaled)
        values = np.maximum(values, len(values) * np.finfo(np.float64).eps)
        root, logs = directions / np.sqrt(values), np.log(values)
    return units[:, None] * root, float(logs.sum() - 2 * np.log(units).sum())


def _scores(posterior: Posterior, objective: SupervisedObjective, noise: float) -> NumpyArray:
    """See :meth:`Posterior.leave_one_out`; of data whose weight is not zero."""
    inputs, targets, weights = jax.tree.map(np.asarray, objective.rows)
    step = max(1, -(-len(targets) // _MOST_SCORES))
    inputs, targets = jax.tree.map(lambda leaf: leaf[::step], (inputs, targets))
    mean, std = posterior.predict(inputs, kind="confidence")
    shares = np.ones(len(targets)) if weights is None else weights[::step].astype(np.float64)
    shares = np.broadcast_to(
        shares.reshape(shares.shape + (1,) * (mean.ndim - shares.ndim)), mean.shape
    )
    leverage = np.clip(shares * (std / noise) ** 2, 0, 1 - 1e-9)
    errors = np.abs(np.asarray(targets, np.float64).reshape(mean.shape) - mean)
    scores = errors * np.sqrt(shares) / (noise * np.sqrt(1 - leverage))
    return scores[shares > 0].ravel()
