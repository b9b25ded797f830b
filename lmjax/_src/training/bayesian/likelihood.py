"""Losses as probabilities of the data."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import numpy as np

from lmjax._src.objectives.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.mean_squared_error import MeanSquaredError
from lmjax._src.objectives.losses.poisson import Poisson
from lmjax._src.objectives.supervised import SupervisedObjective

#: One number each with a probability of its own; of those a Gaussian's width is unknown.
_OF_NUMBERS = (MeanSquaredError, BinaryCrossentropy, Poisson)
#: One probability for the numbers along the last axis.
_OF_CLASSES = (CategoricalCrossentropy, SparseCategoricalCrossentropy)


class Chances(NamedTuple):
    """What outputs are to probabilities of classes."""

    exclusive: bool  #: whether those along the last axis are of sum 1
    from_logits: bool  #: whether outputs are logits, and not yet probabilities


class Likelihood(NamedTuple):
    """The negative logarithm of the data's probability is ``scale`` times the mean loss, plus
    ``constant``.

    Attributes:
        num_data: of the data: of numbers, or of classes; those of weight zero do not count.
        whole: what a mean loss times this is a sum of: the count of the terms of the mean.
        scaled: whether the data are numbers with Gaussian noise, whose variance is unknown; the
            scale is then half of ``whole`` over the variance, and else ``whole``.
        log_weights: Σ log wᵢ over the data.
        variance: of the targets around their means, where they are numbers with noise; else 0.
        chances: what outputs are to probabilities of classes; None where there are no classes.
    """

    num_data: int
    whole: int
    scaled: bool
    log_weights: float = 0.0
    variance: float = 0.0
    chances: Chances | None = None


def likelihood_of(loss: Loss, objective: SupervisedObjective, params: jax.Array) -> Likelihood:
    """The likelihood that a loss stands for.

    Raises:
        ValueError: it stands for none.
    """
    if not isinstance(loss, (*_OF_NUMBERS, *_OF_CLASSES)):
        raise ValueError(
            f"regularization: 'bayesian' needs a loss that is a likelihood: 'mse', a "
            f"crossentropy or 'poisson', of one output; got {type(loss).__name__}"
        )
    outputs = jax.eval_shape(
        lambda p, inputs: objective.model(objective.structure.unflatten(p), inputs),
        params,
        objective.rows.inputs,
    ).shape
    each = outputs[:-1] if isinstance(loss, _OF_CLASSES) else outputs
    whole, weights = math.prod(each), objective.rows.weights
    chances = None
    if isinstance(loss, (BinaryCrossentropy, *_OF_CLASSES)):
        chances = Chances(isinstance(loss, _OF_CLASSES), loss.from_logits)
    scaled, variance = isinstance(loss, MeanSquaredError), 0.0
    if scaled:
        variance = float(np.var(np.asarray(objective.rows.targets, np.float64), axis=0).mean())
    if weights is None:
        return Likelihood(whole, whole, scaled, 0.0, variance, chances)
    given = np.asarray(weights, np.float64)
    spread = whole // max(given.size, 1)
    used = given[given > 0]
    logs = float(np.sum(np.log(used))) * spread
    return Likelihood(used.size * spread, whole, scaled, logs, variance, chances)
