"""Where trainings of one model begin: at its own weights, and at others like them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bridge._src.description.weights import leaves, nest
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.starts.initializers import drawn, is_random
from lmjax._src.typing import Params

#: How far a perturbed start is from the model's weights, as a part of their root mean square.
_PERTURBATION = 0.1


class Starts(NamedTuple):
    """Parameters to begin from, and how they came about."""

    params: list[Params]
    origin: str  #: in words


def starts_of(model: FlaxModel, count: int, seed: int = 0) -> Starts:
    """``count`` starts of a model, the first of which are the weights that it has; ``seed`` says
    which others.

    The others are new draws from its layers' initializers, with weights whose initializer is
    constant at that constant, and weights without a known one as they are; where no initializer
    draws anything, the model's weights plus normal numbers of a tenth of their root mean square.
    """
    if count == 1:
        return Starts([model.params], "the model's own weights")
    restarts = any(is_random(entry.initializer) for entry in model.table.trainable)
    make = _restarted if restarts else _perturbed
    origin = "new draws from its initializers" if restarts else "perturbed by a tenth of their size"
    others = [make(model, np.random.default_rng([seed, number])) for number in range(1, count)]
    return Starts(
        [model.params, *others], f"the model's own weights, and {len(others)} more: {origin}"
    )


def _restarted(model: FlaxModel, generator: np.random.Generator) -> Params:
    values = dict(leaves(model.params))
    for entry in model.table.trainable:
        value = drawn(entry.initializer, entry.shape, generator)
        if value is not None:
            values[entry.path] = value.astype(model.dtype)
    return nest(values)


def _perturbed(model: FlaxModel, generator: np.random.Generator) -> Params:
    def moved(value: np.ndarray) -> np.ndarray:
        size = float(np.sqrt(np.mean(np.square(value)))) if value.size else 0.0
        return (value + _PERTURBATION * size * generator.normal(size=value.shape)).astype(
            model.dtype
        )

    return nest({path: moved(np.asarray(value)) for path, value in leaves(model.params)})
