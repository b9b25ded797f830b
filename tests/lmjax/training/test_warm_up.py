"""Steps of Adam before the first epoch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lmjax

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (60, 2))
Y = np.sin(3 * X[:, :1]) * X[:, 1:]
STEPS = 40


def network(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params["kernel"]) @ params["out"]


def start(dtype: str = "float64") -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {
        "kernel": random.normal(size=(2, 5)).astype(dtype),
        "out": random.normal(size=(5, 1)).astype(dtype),
    }


def by_optax(params: Any, l2: float = 0.0) -> tuple[list[float], list[Any]]:
    """Losses and parameters along the way, by Optax' own loop."""
    optimizer = optax.adam(optax.schedules.cosine_decay_schedule(1e-2, STEPS))

    def loss(params: Any) -> jax.Array:
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return jnp.mean((network(params, X) - Y) ** 2) + l2 * squares

    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, params)
        state, passed = optimizer.init(params), [params]
        for _ in range(STEPS):
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            params = optax.apply_updates(params, updates)
            passed.append(params)
        return [float(loss(each)) for each in passed], passed


def test_it_is_optax_adam_and_the_fit_begins_at_its_best() -> None:
    losses, _ = by_optax(start(), l2=1e-3)
    result = lmjax.fit(network, start(), X, Y, l2=1e-3, warm_up=STEPS, epochs=2, verbose=0)
    np.testing.assert_allclose(result.warm_up, losses, rtol=1e-9)
    assert result.start["loss"] == pytest.approx(min(losses), rel=1e-12)
    assert result.history["loss"][-1] < min(losses)
    assert len(result.history["loss"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"batch_size": 20}, {"bounds": (-0.5, 0.5)}])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_streams_batches_and_bounds(dtype: str, options: dict[str, Any]) -> None:
    given = options | {"warm_up": 10, "epochs": 3, "verbose": 0}
    whole = lmjax.fit(network, start(dtype), X, Y, **given)
    streamed = lmjax.fit(network, start(dtype), [(X[:25], Y[:25]), (X[25:], Y[25:])], **given)
    np.testing.assert_allclose(streamed.warm_up, whole.warm_up, rtol=1e-4)
    for result in (whole, streamed):
        assert min(result.history["loss"]) <= min(result.warm_up)
        if "bounds" in options:
            assert all(np.all(np.abs(leaf) <= 0.5) for leaf in jax.tree.leaves(result.params))


def test_a_warm_up_that_harms_is_left_behind() -> None:
    """At a minimum Adam only goes away; and validation data may say that the start was best."""
    done = lmjax.fit(network, start(), X, Y, epochs=300, verbose=0)
    again = lmjax.fit(network, done.params, X, Y, warm_up=STEPS, epochs=1, verbose=0)
    assert max(again.warm_up[1:]) > again.warm_up[0]
    assert again.history["loss"][-1] <= done.history["loss"][-1] * (1 + 1e-12)
    held_out = (X[:9], network(start(), X[:9]))
    kept = lmjax.fit(
        network, start(), X, Y, validation_data=held_out, warm_up=STEPS, epochs=3, verbose=0
    )
    assert kept.best_epoch is None
    jax.tree.map(np.testing.assert_array_equal, kept.params, start())


def test_what_it_does_not_go_with_is_refused() -> None:
    state = lmjax.fit(network, start(), X, Y, epochs=1, verbose=0).state
    with pytest.raises(ValueError, match="warm_up: a fit that goes on"):
        lmjax.fit(network, start(), X, Y, epochs=1, state=state, warm_up=3)
    with pytest.raises(ValueError, match="warm_up"):
        lmjax.fit(network, start(), X, Y, epochs=1, warm_up=-1)
