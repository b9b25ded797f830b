"""Functions that have reverse mode only, one derivative only, or forward mode only: the default
options fit them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.ode import odeint

import lmjax
from lmjax._src.objectives.residual_functions import as_residual_fn
from lmjax._src.runtime.derivatives import forward_orders, linear_map

T = np.linspace(0.0, 3.0, 12)
Y = 2.5 * np.exp(-1.3 * T) + 0.05 * np.cos(9 * T)
START = {"amplitude": np.array(1.0), "rate": np.array([0.5])}


def decay(params, t):
    return params["amplitude"] * jnp.exp(-params["rate"][0] * t)


@jax.custom_vjp
def reversible(params, t):
    return decay(params, t)


reversible.defvjp(
    lambda params, t: (decay(params, t), (params, t)), lambda kept, u: jax.vjp(decay, *kept)[1](u)
)


def residuals(params, t, y):
    return decay(params, t) - y


def reverse_only(params, t, y):
    return reversible(params, t) - y


def looped(params, t, y):
    """Forward mode only: a loop of unknown length."""
    tail = jax.lax.while_loop(
        lambda c: c[0] < 1, lambda c: (c[0] + 1, c[1] * params["amplitude"]), (0, jnp.ones_like(t))
    )[1]
    return tail * jnp.exp(-params["rate"][0] * t) - y


def solve(function, **options):
    y = options.pop("y", Y)
    return lmjax.least_squares(function, START, (T, y), solver=lmjax.LevenbergMarquardt(**options))


@pytest.fixture(scope="module")
def exact():
    return solve(residuals)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jacobian": "reverse"},
        {"linear_solver": lmjax.QR()},
        {"linear_solver": lmjax.ConjugateGradients()},
    ],
    ids=str,
)
def test_reverse_mode_alone_is_enough(options, exact):
    solution = solve(reverse_only, **options)
    assert solution.status.success
    assert not solution.geodesic_acceleration
    np.testing.assert_allclose(solution.params["rate"], exact.params["rate"], rtol=1e-6)


@pytest.mark.slow
def test_statistics_and_derivatives_follow(exact):
    solution = solve(reverse_only)
    for got, expected in zip(
        jax.tree.leaves(
            (
                solution.standard_errors(),
                solution.predict_interval(reversible, (T[:1],)),
                solution.predict_interval(reversible, (T,)),
            )
        ),
        jax.tree.leaves(
            (
                exact.standard_errors(),
                exact.predict_interval(decay, (T[:1],)),
                exact.predict_interval(decay, (T,)),
            )
        ),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bounds",
    [None, ({"amplitude": None, "rate": 0.0}, {"amplitude": 2.0, "rate": 9.0})],
    ids=["free", "bounded"],
)
def test_gradients_through_the_solution_are_those_of_forward_mode(bounds):
    def quantity(y, upper, function):
        limits = None if bounds is None else (bounds[0], {**bounds[1], "amplitude": upper})
        solution = lmjax.least_squares(function, START, (T, y), bounds=limits)
        return solution.params["rate"][0] ** 2 + solution.params["amplitude"] + 3 * solution.cost

    with jax.enable_x64(True):
        got, expected = (
            jax.jit(jax.grad(lambda y, u, f=f: quantity(y, u, f), (0, 1)))(Y, 2.0)
            for f in (reverse_only, residuals)
        )
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-12)
    assert (float(expected[1]) != 0) == (bounds is not None)


@pytest.mark.slow
def test_the_result_says_whether_steps_were_bent(exact):
    assert exact.geodesic_acceleration
    assert not solve(residuals, geodesic_acceleration=False).geodesic_acceleration
    assert not solve(residuals, jacobian="reverse").geodesic_acceleration


def test_forward_mode_alone_is_enough_where_reverse_is_cheaper(exact):
    few = slice(0, 1)  # one residual, two parameters
    solution = lmjax.least_squares(
        looped,
        START,
        (T[few], Y[few]),
        solver=lmjax.LevenbergMarquardt(geodesic_acceleration=False),
    )
    assert solution.cost < 1e-20


def _slopes():
    """A Jacobian that has no derivatives in forward mode."""
    slopes = jax.custom_vjp(jax.jacfwd(residuals))
    slopes.defvjp(lambda *args: (slopes(*args), None), lambda kept, u: (None, None, None))
    return slopes


def test_an_own_jacobian_without_derivatives_is_enough(exact):
    solution = lmjax.least_squares(residuals, START, (T, Y), jac=_slopes())
    assert solution.status.success
    assert not solution.geodesic_acceleration
    np.testing.assert_allclose(solution.params["rate"], exact.params["rate"], rtol=1e-9)


@pytest.mark.slow
def test_a_differential_equation():
    def curve(params, t):
        return odeint(
            lambda z, t, k: -k * z,
            params["amplitude"],
            t,
            params["rate"][0],
            rtol=1e-10,
            atol=1e-10,
        )

    solution = lmjax.least_squares(lambda p, t, y: curve(p, t) - y, START, (T, Y))
    assert solution.status.success
    np.testing.assert_allclose(solution.params["rate"], solve(residuals).params["rate"], rtol=1e-6)


@pytest.mark.slow
def test_orders_of_forward_mode():
    def flat(function):
        return lambda p: function({"amplitude": p[0], "rate": p[1:]}, T, Y)

    p = jnp.ones(2)
    with_own = as_residual_fn(residuals, _slopes())
    assert [forward_orders(flat(f), p) for f in (residuals, reverse_only, with_own)] == [2, 0, 1]
    for function in (residuals, reverse_only):
        values, push, pull = linear_map(flat(function), p)
        jacobian = jax.jacrev(flat(function))(p)
        np.testing.assert_allclose(values, flat(function)(p), rtol=1e-6)
        np.testing.assert_allclose(
            push(jnp.array([2.0, -1.0])), jacobian @ jnp.array([2.0, -1.0]), rtol=1e-5
        )
        np.testing.assert_allclose(pull(values), values @ jacobian, rtol=1e-5)


@pytest.mark.slow
def test_a_model_with_reverse_mode_only_is_trained():
    @jax.custom_vjp
    def layer(p, x):
        return jnp.tanh(x @ p)

    layer.defvjp(
        lambda p, x: (layer(p, x), (p, x)),
        lambda kept, u: jax.vjp(lambda p, x: jnp.tanh(x @ p), *kept)[1](u),
    )
    x = np.random.default_rng(0).normal(size=(40, 3))
    start, truth = np.full((3, 1), 0.1), np.array([[0.5], [-0.3], [0.2]])
    results = [
        lmjax.fit(f, start, x, np.tanh(x @ truth), epochs=20, verbose=0)
        for f in (layer, lambda p, x: jnp.tanh(x @ p))
    ]
    for result in results:
        np.testing.assert_allclose(result.params, truth, rtol=1e-9)
