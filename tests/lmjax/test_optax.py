"""Levenberg-Marquardt in Optax chains."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lmjax
from lmjax.optax import levenberg_marquardt

X = np.linspace(0, 3, 30)
Y = 2.0 * np.exp(-1.5 * X)
START = {"a": np.array(1.0), "b": np.array(0.3)}


def decay(params, x, y):
    return params["a"] * jnp.exp(-params["b"] * x) - y


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def run(transform, params, steps, **extra):
    params = jax.tree.map(jnp.asarray, params)
    state = transform.init(params)

    @jax.jit
    def step(params, state, x, y):
        updates, state = transform.update(params, state, params, args=(x, y), **extra)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state, X, Y)
    assert step._cache_size() == 1
    return params, state


def test_alone_it_is_the_solver():
    params, state = run(levenberg_marquardt(decay), START, 15)
    np.testing.assert_allclose([params["a"], params["b"]], [2.0, 1.5], rtol=1e-9)
    assert float(state.cost) < 1e-20


def test_in_a_chain():
    transform = optax.chain(
        levenberg_marquardt(decay), optax.scale(0.5), optax.keep_params_nonnegative()
    )
    params, _ = run(transform, START, 40)  # half steps halve the error each time
    np.testing.assert_allclose([params["a"], params["b"]], [2.0, 1.5], rtol=1e-9)


@pytest.mark.slow
def test_a_constraint_of_the_chain_holds():
    transform = optax.chain(levenberg_marquardt(), optax.keep_params_nonnegative())
    # Wants a < 0.
    params, _ = run(
        transform, START, 20, residual_fn=lambda p, x, y: decay(p, x, y) + jnp.array(3.0)
    )
    assert float(params["a"]) == 0.0


@pytest.mark.slow
def test_masked_parameters_stay():
    transform = optax.masked(
        levenberg_marquardt(lambda p, x, y: p["a"] * jnp.exp(-x) - y), {"a": True, "b": False}
    )
    params = jax.tree.map(jnp.asarray, START)
    updates, _ = transform.update(
        jax.tree.map(jnp.zeros_like, params), transform.init(params), params, args=(X, Y)
    )
    assert float(updates["b"]) == 0.0
    assert float(updates["a"]) != 0.0


def test_new_data_after_convergence_and_after_a_failure():
    transform = levenberg_marquardt(decay)
    params = jax.tree.map(jnp.asarray, START)
    update = jax.jit(lambda params, state, y: transform.update(None, state, params, args=(X, y)))
    state = transform.init(params)
    for target, last in ((Y, (2.0, 1.5)), (Y * np.nan, None), (3 * Y, (6.0, 1.5))):
        for _ in range(15):
            updates, state = update(params, state, target)
            params = optax.apply_updates(params, updates)
        if last is None:
            assert int(state.status) in (
                lmjax.Status.NON_FINITE_START,
                lmjax.Status.NON_FINITE_DERIVATIVE,
            )
        else:
            assert lmjax.Status(int(state.status)).success
            np.testing.assert_allclose([params["a"], params["b"]], last, rtol=1e-9)


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [(decay, (None, None), "params"), (None, (None, None, START), "residual_fn")],
)
def test_what_is_missing_is_named(function, arguments, words):
    transform = levenberg_marquardt(function)
    state = transform.init(START)
    with pytest.raises(ValueError, match=words):
        transform.update(None, state, *arguments[2:])
