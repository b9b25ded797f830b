"""Minima at which J is singular: told from points where a run is stuck, and found to the last
digits.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from benchmarks.problems.mgh import PROBLEMS
from benchmarks.problems.stationarity import is_minimum_of_second_order
from lmjax import Status

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")


def problem(name):
    return next(each for each in PROBLEMS if each.name == name)


def newton_step(residual_fn, params):
    """How far Newton's method would still go, by NumPy."""
    with jax.enable_x64(True):
        cost = functools.partial(lambda p: 0.5 * jnp.sum(residual_fn(p) ** 2))
        return np.linalg.solve(
            jax.hessian(cost)(jnp.asarray(params)), jax.grad(cost)(jnp.asarray(params))
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "factor", "cost"),
    [
        ("Freudenstein-Roth", 1, 24.4921),  # the local minimum of the paper
        ("Jennrich-Sampson", 1, 62.1811),
        ("Jennrich-Sampson", 10, 62.1811),
        ("Chebyquad 8", 1, 1.75844e-3),
        ("Chebyquad 10", 1, 2.38636e-3),
    ],
)
def test_is_a_success_with_all_digits(name, factor, cost):
    """The cost alone gives half of them, since it is flat there."""
    given = problem(name)
    solution = lmjax.least_squares(given.residual_fn, given.start(factor))
    assert solution.status is Status.PRECISION
    assert solution.cost == pytest.approx(cost, rel=1e-5)
    assert is_minimum_of_second_order(given.residual_fn, solution.params)
    np.testing.assert_allclose(
        newton_step(given.residual_fn, solution.params),
        0,
        atol=1e-13 * np.abs(solution.params).max(),
    )


@pytest.mark.slow
def test_is_a_success_in_float32():
    given = problem("Jennrich-Sampson")
    solution = lmjax.least_squares(given.residual_fn, given.start(1).astype("float32"))
    assert solution.status is Status.PRECISION
    np.testing.assert_allclose(solution.params, 0.257825, rtol=3e-6)


@pytest.mark.slow
def test_the_cost_does_not_rise():
    given = problem("Chebyquad 8")
    plain = lmjax.least_squares(
        given.residual_fn, given.start(1), solver=lmjax.LevenbergMarquardt(polish=False)
    )
    solution = lmjax.least_squares(given.residual_fn, given.start(1))
    assert solution.cost <= plain.cost * (1 + 1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"polish": False}, {"geodesic_acceleration": False}])
def test_without_second_derivatives_the_run_says_what_it_knows(options):
    given = problem("Jennrich-Sampson")
    solution = lmjax.least_squares(
        given.residual_fn, given.start(1), solver=lmjax.LevenbergMarquardt(**options)
    )
    assert solution.status is Status.ILL_CONDITIONED
    assert given.is_solved(2 * solution.cost)


@pytest.mark.slow
def test_a_run_that_is_stuck_elsewhere_is_no_success():
    given = problem("Powell badly scaled")
    solution = lmjax.least_squares(given.residual_fn, given.start(100))
    assert not given.is_solved(2 * solution.cost)
    assert not solution.status.success


@pytest.mark.slow
def test_within_bounds():
    """With one more parameter, which its bound stops, and one that is fixed."""
    given = problem("Jennrich-Sampson")

    def residuals(p):
        return jnp.concatenate(
            [given.residual_fn(p["x"]), jnp.stack([p["held"] - 2.0, p["known"]])]
        )

    start = {"x": given.start(1), "held": np.array(0.0), "known": np.array(3.0)}
    fixed = {"x": False, "held": False, "known": True}
    bounds = ({"x": 0.0, "held": -1.0, "known": None}, {"x": 1.0, "held": 1.0, "known": None})
    solution = lmjax.least_squares(residuals, start, bounds=bounds, fixed=fixed)
    assert solution.status is Status.PRECISION
    np.testing.assert_allclose(solution.params["x"], 0.2578252136704, rtol=1e-12)
    assert solution.params["held"] == 1
    assert solution.params["known"] == 3


@pytest.mark.slow
def test_a_minimum_beyond_a_bound_is_one_at_the_bound():
    given = problem("Jennrich-Sampson")
    solution = lmjax.least_squares(given.residual_fn, np.array([0.1, 0.1]), bounds=(0.0, 0.2))
    assert solution.status.success
    np.testing.assert_array_equal(solution.params, 0.2)


@pytest.mark.slow
def test_with_a_jacobian_of_the_callers():
    given = problem("Jennrich-Sampson")
    solution = lmjax.least_squares(
        given.residual_fn, given.start(1), jac=jax.jacfwd(given.residual_fn)
    )
    assert solution.status is Status.PRECISION


@pytest.mark.slow
def test_a_robust_loss():
    """Its weights vary with the residuals, and so belong to the Hessian. Rounding lets steps be
    accepted here for ever.
    """
    given = problem("Jennrich-Sampson")
    solution = lmjax.least_squares(given.residual_fn, given.start(1), loss=lmjax.SoftL1(3.0))
    assert solution.status is Status.PRECISION
    assert solution.num_steps < 500

    def cost(p):
        return jnp.sum(9.0 * (jnp.sqrt(1 + (given.residual_fn(p) / 3.0) ** 2) - 1))

    with jax.enable_x64(True):
        assert solution.cost == pytest.approx(float(cost(jnp.asarray(solution.params))), rel=1e-12)
        gradient, hessian = (
            jax.grad(cost)(jnp.asarray(solution.params)),
            jax.hessian(cost)(jnp.asarray(solution.params)),
        )
    assert np.linalg.eigvalsh(hessian)[0] > 0
    assert np.max(np.abs(np.linalg.solve(hessian, gradient))) < 1e-14


@pytest.mark.slow
def test_a_run_out_of_steps_is_no_success_where_it_was_getting_on():
    given = problem("Chebyquad 8")
    solution = lmjax.least_squares(
        given.residual_fn, given.start(1), solver=lmjax.LevenbergMarquardt(max_steps=10)
    )
    assert solution.status is Status.MAX_STEPS
    assert solution.num_steps == 10


@pytest.mark.slow
def test_of_many_starts():
    given = problem("Jennrich-Sampson")
    ranked = lmjax.multi_start(
        0, given.residual_fn, (np.full(2, 0.1), np.full(2, 0.5)), num_starts=8
    )
    assert ranked.best.status is Status.PRECISION
    assert ranked.status_codes[0] == Status.PRECISION
    np.testing.assert_allclose(ranked.best.params, 0.2578252136704, rtol=1e-12)
    assert ranked.best.cost == ranked.costs[0]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("more", [0, 1])
def test_a_start_between_two_minima_is_left_though_j_has_full_rank(dtype, more):
    """By symmetry the slope along the first parameter is zero there, and along the way of the
    others too.
    """

    def residual_fn(p):
        return jnp.concatenate([jnp.stack([p[0], 10 - p[0] ** 2]), p[1:] ** 3 - 3])

    start = np.concatenate([[0.0], np.full(more, 2.0)]).astype(dtype)
    solution = lmjax.least_squares(residual_fn, start)
    assert solution.status.success
    np.testing.assert_allclose(
        np.abs(solution.params[0]), np.sqrt(9.5), rtol=1e-3 if dtype == "float32" else 1e-7
    )
    np.testing.assert_allclose(solution.params[1:], 3 ** (1 / 3), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("start", [[0.0], [0.0, 2.0]])
def test_a_minimum_at_the_start_of_a_parameter_stays_as_it_is(start):
    def residual_fn(p):
        return jnp.concatenate([jnp.stack([p[0], 1 + p[0] ** 2]), p[1:] ** 3 - 3])

    solution = lmjax.least_squares(residual_fn, np.array(start))
    again = lmjax.least_squares(residual_fn, solution.params)
    assert solution.params[0] == again.params[0] == 0
    assert solution.cost == again.cost == 0.5
    assert again.status is Status.GRADIENT
    np.testing.assert_array_equal(again.params, solution.params)
