"""Keras' initializers of weights, by NumPy: no Keras is needed to begin once more."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bridge._src.description.identity import key_of
from bridge._src.description.regularizers import options_of
from bridge._src.typing import Config, Serialized

Shape = tuple[int, ...]
_Draw = Callable[[Shape, Config, np.random.Generator], np.ndarray]

#: The deviation of a standard normal distribution that is cut off at ±2, which Keras divides by.
_TRUNCATED_DEVIATION = 0.87962566103423978

#: Scale, mode and distribution of those that are a VarianceScaling of their own names.
_SCALINGS = {
    "glorotuniform": (1.0, "fan_avg", "uniform"),
    "glorotnormal": (1.0, "fan_avg", "truncated_normal"),
    "lecununiform": (1.0, "fan_in", "uniform"),
    "lecunnormal": (1.0, "fan_in", "truncated_normal"),
    "heuniform": (2.0, "fan_in", "uniform"),
    "henormal": (2.0, "fan_in", "truncated_normal"),
}


def is_random(initializer: Serialized) -> bool:
    """Whether a serialized initializer is one of Keras' that :func:`drawn` draws from."""
    return initializer is not None and _name(initializer) in (*_SCALINGS, *_RANDOM)


def drawn(
    initializer: Serialized, shape: Shape, generator: np.random.Generator
) -> np.ndarray | None:
    """Values as a serialized initializer of Keras makes them; None for one that is unknown here.

    Args:
        initializer: as Keras serializes it: a name, or a name with options; its seed is left aside.
        shape: of the weight.
        generator: where random numbers come from.

    Sources: the initializers of Keras 3, ``keras/src/initializers``.
    """
    if initializer is None:
        return None
    name, options = _name(initializer), options_of(initializer)
    if name in _SCALINGS:
        scale, mode, distribution = _SCALINGS[name]
        options = {"scale": scale, "mode": mode, "distribution": distribution}
        name = "variancescaling"
    draw = (_RANDOM | _CONSTANT).get(name)
    return None if draw is None else draw(shape, options, generator)


def _name(initializer: Serialized) -> str:
    """Without the underscores and capitals in which its spellings differ."""
    return key_of(initializer, "initializers").replace("_", "").lower()


def _variance_scaling(shape: Shape, options: Config, generator: np.random.Generator) -> np.ndarray:
    fans = _fans(shape)
    fan = {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[
        options.get("mode", "fan_in")
    ]
    variance = float(options.get("scale", 1.0)) / max(fan, 1.0)
    match options.get("distribution", "truncated_normal"):
        case "uniform":
            limit = math.sqrt(3 * variance)
            return generator.uniform(-limit, limit, shape)
        case "untruncated_normal":
            return generator.normal(0.0, math.sqrt(variance), shape)
    return _truncated(shape, 0.0, math.sqrt(variance) / _TRUNCATED_DEVIATION, generator)


def _fans(shape: Shape) -> tuple[float, float]:
    """The inputs and outputs of a unit, as Keras counts them."""
    if len(shape) < 2:
        return (float(math.prod(shape)),) * 2
    field = math.prod(shape[:-2])
    return float(shape[-2] * field), float(shape[-1] * field)


def _truncated(
    shape: Shape, mean: float, deviation: float, generator: np.random.Generator
) -> np.ndarray:
    """Normal numbers, drawn again where they are more than two deviations away."""
    values = generator.normal(size=shape)
    while (far := np.abs(values) > 2).any():
        values = np.where(far, generator.normal(size=shape), values)
    return mean + deviation * values


def _normal(shape: Shape, options: Config, generator: np.random.Generator) -> np.ndarray:
    return generator.normal(options.get("mean", 0.0), options.get("stddev", 0.05), shape)


def _truncated_normal(shape: Shape, options: Config, generator: np.random.Generator) -> np.ndarray:
    return _truncated(shape, options.get("mean", 0.0), options.get("stddev", 0.05), generator)


def _uniform(shape: Shape, options: Config, generator: np.random.Generator) -> np.ndarray:
    return generator.uniform(options.get("minval", -0.05), options.get("maxval", 0.05), shape)


def _orthogonal(shape: Shape, options: Config, generator: np.random.Generator) -> np.ndarray:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    tall = generator.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return float(options.get("gain", 1.0)) * (q if rows >= columns else q.T).reshape(shape)


_RANDOM: dict[str, _Draw] = {
    "variancescaling": _variance_scaling,
    "randomnormal": _normal,
    "normal": _normal,
    "truncatednormal": _truncated_normal,
    "randomuniform": _uniform,
    "uniform": _uniform,
    "orthogonal": _orthogonal,
    "orthogonalinitializer": _orthogonal,
}
_CONSTANT: dict[str, _Draw] = {
    "zeros": lambda shape, *_: np.zeros(shape),
    "ones": lambda shape, *_: np.ones(shape),
    "constant": lambda shape, options, _: np.full(shape, options.get("value", 0.0), float),
}
