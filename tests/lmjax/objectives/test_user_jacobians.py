"""``jac=``: a Jacobian of the caller's takes the place of the derivative."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import lmjax

T = np.linspace(0.0, 3.0, 25)
Y = 2.5 * np.exp(-1.3 * T) + 0.01 * np.cos(9 * T)
START = {"amplitude": np.array(1.0), "rate": np.array(0.5)}


def residuals(params, t, y):
    return params["amplitude"] * jnp.exp(-params["rate"] * t) - y


def jacobian(params, t, y):
    decay = jnp.exp(-params["rate"] * t)
    return {"amplitude": decay, "rate": -params["amplitude"] * t * decay}


def opaque(params, t, y):
    """The same residuals from NumPy, where JAX cannot differentiate."""
    shape = jax.ShapeDtypeStruct(t.shape, t.dtype)
    return jax.pure_callback(
        lambda p, t, y: p["amplitude"] * np.exp(-p["rate"] * t) - y,
        shape,
        params,
        t,
        y,
        vmap_method="sequential",
    )


@pytest.mark.slow
def test_gives_the_same_fit_and_statistics():
    own, exact = (
        lmjax.least_squares(residuals, START, (T, Y), jac=jacobian),
        lmjax.least_squares(residuals, START, (T, Y)),
    )
    assert own.status.success
    for name in START:
        np.testing.assert_allclose(own.params[name], exact.params[name], rtol=1e-12)
        np.testing.assert_allclose(
            own.standard_errors()[name], exact.standard_errors()[name], rtol=1e-10
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")
def test_is_what_is_used():
    """With a Jacobian that is off by a factor the covariance is off by its square."""
    solver = lmjax.LevenbergMarquardt(max_steps=1)

    def doubled(params, t, y):
        return jax.tree.map(lambda column: 2 * column, jacobian(params, t, y))

    right, wrong = (
        lmjax.least_squares(residuals, START, (T, Y), jac=jac, solver=solver)
        for jac in (jacobian, doubled)
    )
    assert abs(right.params["rate"] - wrong.params["rate"]) > 1e-3


@pytest.mark.usefixtures("double_everywhere")
def test_a_function_that_jax_cannot_differentiate():
    solution = lmjax.least_squares(opaque, START, (T, Y), jac=jacobian)
    assert solution.status.success
    exact = lmjax.least_squares(residuals, START, (T, Y))
    np.testing.assert_allclose(solution.params["rate"], exact.params["rate"], rtol=1e-12)


def test_callbacks_that_jax_would_round_are_refused():
    def called(params, t, y):
        return opaque(params, t, y)

    def branched(params, t, y):
        return jax.lax.cond(params["rate"] > 0, opaque, residuals, params, t, y)

    for function in (called, branched):
        with pytest.raises(ValueError, match=r"calls back into Python.*jax_enable_x64"):
            lmjax.least_squares(function, START, (T, Y), jac=jacobian)


def test_callbacks_in_single_precision():
    start = {name: value.astype("float32") for name, value in START.items()}
    solution = lmjax.least_squares(opaque, start, (T, Y), jac=jacobian)
    assert solution.status.success
    np.testing.assert_allclose(
        solution.params["rate"],
        lmjax.least_squares(residuals, START, (T, Y)).params["rate"],
        rtol=1e-4,
    )


def test_printing_is_no_callback_whose_result_counts():
    def printed(params, t, y):
        jax.debug.print("rate {rate}", rate=params["rate"])
        return residuals(params, t, y)

    assert lmjax.least_squares(printed, START, (T, Y)).status.success


@pytest.mark.slow
def test_trees_of_residuals_and_arrays_of_parameters():
    matrix = np.random.default_rng(0).normal(size=(3, 2, 4))

    def both(params, shift):
        product = jnp.einsum("ijk,jk->i", matrix, params["w"])
        return {"product": product - 1, "size": params["w"] - shift}

    def jac(params, shift):
        return {"product": {"w": matrix}, "size": {"w": jnp.eye(8).reshape(2, 4, 2, 4)}}

    start = {"w": np.ones((2, 4))}
    own, exact = (
        lmjax.least_squares(both, start, (0.5,), jac=jac),
        lmjax.least_squares(both, start, (0.5,)),
    )
    np.testing.assert_allclose(own.params["w"], exact.params["w"], rtol=1e-10)


@pytest.mark.slow
def test_derivatives_of_the_solution():
    def rate(y, jac):
        return lmjax.least_squares(residuals, START, (T, y), jac=jac).params["rate"]

    with jax.enable_x64(True):
        own, exact = (
            jax.jit(jax.grad(lambda y: rate(y, jacobian)))(Y),
            jax.jit(jax.grad(lambda y: rate(y, None)))(Y),
        )
    np.testing.assert_allclose(own, exact, rtol=1e-8)


@pytest.mark.slow
def test_curve_fit_takes_scipys():
    def f(t, a, b):
        return a * jnp.exp(-b * t)

    def jac(t, a, b):
        return jnp.stack([jnp.exp(-b * t), -a * t * jnp.exp(-b * t)], axis=1)

    sigma = np.linspace(0.5, 1.5, T.size)
    popt, pcov = lmjax.curve_fit(f, T, Y, sigma=sigma, jac=jac)
    expected, covariance = scipy.optimize.curve_fit(f, T, Y, sigma=sigma, jac=jac)
    np.testing.assert_allclose(popt, expected, rtol=1e-6)
    np.testing.assert_allclose(pcov, covariance, rtol=1e-5)
    np.testing.assert_allclose(
        lmjax.curve_fit(f, T, Y, sigma=sigma, jac="2-point")[0], popt, rtol=1e-10
    )


@pytest.mark.parametrize(
    ("jac", "message"),
    [
        (lambda p, t, y: jnp.ones((T.size, 2)), "returned 1 arrays; expected 2"),
        (
            lambda p, t, y: {"amplitude": jnp.ones(3), "rate": jnp.ones(3)},
            r"params\['amplitude'\] the shape is \(3,\); expected \(25,\)",
        ),
    ],
)
def test_wrong_shapes_are_named(jac, message):
    with pytest.raises(ValueError, match=message):
        lmjax.least_squares(residuals, START, (T, Y), jac=jac)


def test_no_function_and_lists_are_refused():
    with pytest.raises(TypeError, match="jac"):
        lmjax.least_squares(residuals, START, (T, Y), jac=np.ones((25, 2)))
    with pytest.raises(ValueError, match="jac: it belongs to one residual function"):
        lmjax.least_squares([residuals], START, (T, Y), jac=jacobian)
