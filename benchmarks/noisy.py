"""``python -m benchmarks.noisy``: few noisy data, and what keeps a network from fitting the noise.

Held-out errors of a layer of 16 tanh units by plain Levenberg-Marquardt, by stopping at the least
validation loss (a fifth of the rows held out), by Bayesian regularization, and by Adam with
decoupled weight decay, the best of several strengths *by the held-out error itself*, which favours
it. Data come from formulas and from scikit-learn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman3

import lmjax
from benchmarks.problems.tanh_layer import network, start

UNITS = 16
EPOCHS = 100
DECAYS = (1e-3, 1e-2, 1e-1, 1.0)
ADAM_STEPS = 3_000
Array = np.ndarray
Data = tuple[Array, Array, Array, Array]


def _split(x: Array, y: Array, train: int) -> Data:
    return x[:train], y[:train], x[train:], y[train:]


def diabetes(random: np.random.Generator) -> Data:
    """442 patients, 350 of them to train on."""
    x, y = load_diabetes(return_X_y=True)
    order = random.permutation(len(y))
    return _split(x[order], y[order], 350)


def sine(random: np.random.Generator) -> Data:
    """30 points of a sine."""
    x = random.uniform(-1, 1, (1030, 1))
    y = np.sin(4 * x[:, 0]) + 0.3 * random.normal(size=1030)
    return _split(x, y, 30)


def friedman(make: Callable[..., Any], noise: float, random: np.random.Generator) -> Data:
    """100 points of a function of Friedman's (1991)."""
    x, y = make(1100, noise=noise, random_state=int(random.integers(2**31)))
    return _split(x, y, 100)


SETS: dict[str, Callable[[np.random.Generator], Data]] = {
    "diabetes": diabetes,
    "sine, 30 points": sine,
    "Friedman 1": partial(friedman, make_friedman1, 1.0),
    "Friedman 3": partial(friedman, make_friedman3, 0.1),
}


@partial(jax.jit, static_argnums=(3,))
def adam(params: Any, x: jax.Array, y: jax.Array, steps: int, decay: jax.Array) -> Any:
    """Adam with decoupled weight decay, and a rate that falls from 0.01 along half a cosine."""
    optimizer = optax.adamw(optax.schedules.cosine_decay_schedule(1e-2, steps), weight_decay=decay)

    def step(_: Any, carry: Any) -> Any:
        params, state = carry
        gradient = jax.grad(lambda p: jnp.mean((network(p, x) - y) ** 2))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))[0]


def errors(data: Data, random: np.random.Generator) -> list[float]:
    """Root mean squared errors on the rows held out, of each method."""
    x, y, new_x, new_y = data
    shift, scale, mean, deviation = x.mean(axis=0), x.std(axis=0), y.mean(), y.std()
    x, new_x, y = (x - shift) / scale, (new_x - shift) / scale, (y[:, None] - mean) / deviation
    begin = start(x.shape[1], UNITS, random)

    def error(params: Any) -> float:
        predicted = np.asarray(network(params, new_x))[:, 0] * deviation + mean
        return float(np.sqrt(np.mean((predicted - new_y) ** 2)))

    fit = partial(lmjax.fit, network, begin, epochs=EPOCHS, verbose=0)
    held = len(x) // 5
    stopped = fit(x[held:], y[held:], validation_data=(x[:held], y[:held]))
    decayed = [error(adam(begin, x, y, ADAM_STEPS, np.float32(decay))) for decay in DECAYS]
    return [
        error(fit(x, y).params),
        error(stopped.params),
        error(fit(x, y, regularization="bayesian").params),
        min(decayed),
    ]


def main() -> None:
    """Prints a table of medians."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.noisy", description="Held-out errors on small noisy data."
    )
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    table = Table("data", "plain LM", "early stopping", "Bayesian", "Adam, best weight decay")
    for name, make in SETS.items():
        rows = [
            errors(make(np.random.default_rng(seed)), np.random.default_rng(seed))
            for seed in range(options.seeds)
        ]
        cells = [f"{value:.4g}" for value in np.median(rows, axis=0)]
        table.add_row(name, *cells)
        print(name, *cells, flush=True)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
