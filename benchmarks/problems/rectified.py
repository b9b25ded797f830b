"""Networks of ReLU that Adam has trained, on data with noise: where their weights lie, many rows
are close to a kink.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Weights = list[tuple[Any, Any]]

#: Standard deviation of the noise in the targets, of 20 to 30 of the targets themselves, but 200
#: with units.
_NOISE = 2.6

#: Ranges of nine inputs in their own units, as they stand in tables of materials.
_UNITS = np.array([54, 36, 24.7, 20, 3.2, 114.5, 99.2, 36.5, 1.0])


def with_units(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of different ranges, as they are; a smooth function of five of them."""
    x = random.uniform(size=(rows, 9)) * _UNITS
    return x, 0.1 * x[:, 0] + 0.05 * x[:, 1] - 0.5 * x[:, 3] + 20 * np.log1p(
        x[:, 7] / 3
    ) + 10 * np.sin(x[:, 4])


def standardized(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """J. H. Friedman's function (Annals of Statistics 19, 1991) and a product of two more inputs,
    which are standardized.
    """
    x = random.uniform(size=(rows, 9))
    y = (
        10 * np.sin(np.pi * x[:, 0] * x[:, 1])
        + 20 * (x[:, 2] - 0.5) ** 2
        + 10 * x[:, 3]
        + 5 * x[:, 4]
        + 3 * x[:, 5] * x[:, 6]
    )
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def categories(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of two or three values each, so that rows repeat with other targets and no weights fit
    all.
    """
    x = np.concatenate(
        [random.integers(0, 3, (rows, 5)), random.integers(0, 2, (rows, 4))], axis=1
    ).astype(float)
    y = 5 * np.sin(x[:, 0] * x[:, 1]) + 4 * (x[:, 2] - 1) ** 2 + 3 * x[:, 3] + 2 * x[:, 4] * x[:, 5]
    return (x - x.mean(axis=0)) / x.std(axis=0), y


DATA: dict[str, Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]] = {
    "with units": with_units,
    "standardized": standardized,
    "categories": categories,
}
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "leaky relu": functools.partial(jax.nn.leaky_relu, negative_slope=0.1),
    "hard tanh": jax.nn.hard_tanh,
    "tanh": jnp.tanh,
}


@functools.cache
def network(activation: str) -> Callable[[Weights, Any], Any]:
    """A fully connected network with that activation and a linear last layer; the same function for
    equal names.
    """
    function = ACTIVATIONS[activation]

    def model(weights: Weights, x: Any) -> Any:
        *hidden, (kernel, bias) = weights
        for inner_kernel, inner_bias in hidden:
            x = function(x @ inner_kernel + inner_bias)
        return x @ kernel + bias

    return model


@dataclasses.dataclass(frozen=True)
class Net:
    """Which data, how many rows, and which network trained for how many epochs of Adam."""

    data: str
    seed: int
    epochs: int
    rows: int = 1154
    sizes: tuple[int, ...] = (9, 50, 50, 50, 50, 1)
    activation: str = "relu"

    @property
    def model(self) -> Callable[[Weights, Any], Any]:
        """The function of weights and inputs."""
        return network(self.activation)

    @functools.cached_property
    def x_y(self) -> tuple[np.ndarray, np.ndarray]:
        """The data in float32."""
        random = np.random.default_rng(self.seed)
        x, y = DATA[self.data](random, self.rows)
        y = y + _NOISE * random.normal(size=self.rows)
        return x.astype("float32"), y[:, None].astype("float32")

    @functools.cached_property
    def trained(self) -> Weights:
        """The weights in float32 after Adam with its usual rate of 1e-3, in batches of 32, from
        glorot-uniform ones.
        """
        random, weights = np.random.default_rng(self.seed + 1000), []
        for fan_in, fan_out in zip(self.sizes, self.sizes[1:], strict=False):
            limit = np.sqrt(6 / (fan_in + fan_out))
            weights.append(
                (
                    random.uniform(-limit, limit, (fan_in, fan_out)).astype("float32"),
                    np.zeros(fan_out, "float32"),
                )
            )
        count = self.rows // 32
        order = np.stack(
            [
                random.permutation(self.rows)[: 32 * count].reshape(count, 32)
                for _ in range(self.epochs)
            ]
        )
        x, y = self.x_y
        return [
            (np.asarray(k), np.asarray(b))
            for k, b in _adam(self.model, weights, x, y, order.reshape(-1, 32))
        ]

    def in_precision(self, dtype: str) -> tuple[Weights, np.ndarray, np.ndarray]:
        """(weights, x, y) of that dtype."""
        x, y = self.x_y
        return (
            [(k.astype(dtype), b.astype(dtype)) for k, b in self.trained],
            x.astype(dtype),
            y.astype(dtype),
        )


@functools.partial(jax.jit, static_argnums=0)
def _adam(model: Any, weights: Weights, x: Any, y: Any, batches: Any) -> Weights:
    import optax

    optimizer = optax.adam(1e-3)

    def step(carry: Any, rows: Any) -> tuple[Any, None]:
        weights, state = carry
        gradient = jax.grad(lambda w: jnp.mean((model(w, x[rows]) - y[rows]) ** 2))(weights)
        updates, state = optimizer.update(gradient, state, weights)
        return (optax.apply_updates(weights, updates), state), None

    return jax.lax.scan(step, (weights, optimizer.init(weights)), batches)[0][0]  # type: ignore[no-any-return]


def lbfgs(
    net: Net, dtype: str, evaluations: int, seconds: float = math.inf
) -> tuple[list[float], list[float]]:
    """(losses, seconds): the least loss after each evaluation of loss and gradient by SciPy's
    L-BFGS from the trained weights, and when.
    """
    import scipy.optimize
    from jax.flatten_util import ravel_pytree

    weights, x, y = net.in_precision(dtype)
    losses, passed = list[float](), list[float]()
    with jax.enable_x64(dtype == "float64"):
        flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, weights))
        both = jax.jit(
            jax.value_and_grad(lambda v, x, y: jnp.mean((net.model(unravel(v), x) - y) ** 2))
        )
        jax.block_until_ready(both(flat, x, y))
        begin = time.perf_counter()

        def loss_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
            if len(losses) == evaluations or time.perf_counter() - begin > seconds:
                raise _EnoughError
            loss, gradient = both(jnp.asarray(point, dtype), x, y)
            losses.append(min([float(loss), *losses[-1:]]))
            passed.append(time.perf_counter() - begin)
            return float(loss), np.asarray(gradient, float)

        options = {"maxiter": evaluations, "maxfun": 2 * evaluations, "ftol": 0, "gtol": 0}
        with contextlib.suppress(_EnoughError):
            scipy.optimize.minimize(
                loss_and_gradient,
                np.asarray(flat, float),
                jac=True,
                method="L-BFGS-B",
                options=options,
            )
    return losses, passed


class _EnoughError(Exception):
    """Ends SciPy's loop."""
