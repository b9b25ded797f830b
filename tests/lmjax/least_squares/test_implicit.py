"""Derivatives of solutions against finite differences and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax

X = np.linspace(0.0, 3.0, 30)
# Large residuals: the Gauss-Newton matrix would be far off.
Y = 2.0 * np.exp(-1.5 * X) + 0.3 + 0.2 * np.cos(9 * X)
START = {"a": np.array(1.0), "b": np.array([1.0, 0.1])}
DIRECTION = np.random.default_rng(0).normal(size=X.size)


def residual_fn(params, data):
    x, y = data["x"], data["y"]
    return params["a"] * jnp.exp(-params["b"][0] * x) + params["b"][1] - y


def solve(y, start=START, bounds=None):
    solution = lmjax.least_squares(residual_fn, start, ({"x": X, "y": y},), bounds=bounds)
    return jnp.concatenate(
        [jnp.atleast_1d(solution.params["a"]), solution.params["b"]]
    ), solution.cost


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    "bounds", [None, (None, {"a": np.inf, "b": np.array([1.2, np.inf])})], ids=["free", "bounded"]
)
def test_forward_and_reverse_agree_with_differences(bounds):
    along = jax.jit(lambda t: solve(Y + t * DIRECTION, bounds=bounds))
    step = 1e-5
    differences = [
        (high - low) / (2 * step) for high, low in zip(along(step), along(-step), strict=True)
    ]
    forward = jax.jit(jax.jacfwd(along))(0.0)
    for got, expected in zip(forward, differences, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-9)
    reverse = jax.jit(jax.jacrev(lambda y: solve(y, bounds=bounds)[0]))(Y) @ DIRECTION
    np.testing.assert_allclose(reverse, forward[0], rtol=1e-10, atol=1e-14)
    if bounds is not None:
        assert reverse[1] == 0  # b[0] rests on its bound


@pytest.mark.slow
def test_batches_captured_values_starts_and_bounds():
    def height(scale):
        return lmjax.least_squares(
            lambda p: residual_fn(p, {"x": X, "y": scale * Y}), START
        ).params["a"]

    scales = jnp.array([1.0, 2.0])
    heights = jax.vmap(height)(scales)
    np.testing.assert_allclose(jax.vmap(jax.grad(height))(scales), heights / scales, rtol=1e-10)
    np.testing.assert_array_equal(
        jax.grad(lambda a: solve(Y, {**START, "a": a})[0].sum())(1.0), 0.0
    )
    limit = jax.grad(
        lambda upper: lmjax.least_squares(
            lambda p: p - 5.0, jnp.zeros(2), bounds=(None, upper)
        ).params[0]
    )
    np.testing.assert_array_equal(limit(jnp.ones(2)), [1.0, 0.0])


@pytest.mark.slow
def test_second_derivatives_and_many_parameters():
    def curved(t):  # the solution is t², its third and fourth parameter without influence
        return lmjax.least_squares(lambda p: p[:2] - t**2, jnp.ones(4)).params[0]

    np.testing.assert_allclose(jax.grad(jax.grad(curved))(3.0), 2.0, rtol=1e-10)
    size = 300  # conjugate gradients

    def many(t):
        return lmjax.least_squares(lambda p: p + 0.1 * p**3 - t, jnp.zeros(size)).params

    root = many(jnp.linspace(0, 1, size))
    slope = jax.jvp(many, (jnp.linspace(0, 1, size),), (jnp.ones(size),))[1]
    np.testing.assert_allclose(slope, 1 / (1 + 0.3 * root**2), rtol=1e-8)
