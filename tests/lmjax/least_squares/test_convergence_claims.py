"""What is called converged is, by an oracle in NumPy that shares nothing with the solver; and a run
that is no such thing goes on.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmjax
from benchmarks.problems.mgh import PROBLEMS
from benchmarks.problems.stationarity import is_stationary, is_true
from lmjax import Status

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def growth(params, x, y):
    return params[0] * jnp.exp(params[1] * x) + params[2] - y


def check_claim(residual_fn, solution, start, args=()):
    def residuals(params):
        return residual_fn(params, *(np.asarray(arg, float) for arg in args))

    assert is_true(residuals, solution, start), (solution.status.name, solution.params)


def growth_curves(number, seed=0):
    """Data, and starts whose rates are one to five times too large."""
    random = np.random.default_rng(seed)
    x = np.linspace(0.0, 4.0, 30)
    for _ in range(number):
        a, b, c = random.uniform(0.5, 3), random.uniform(0.2, 1.5), random.uniform(-2, 2)
        y = a * np.exp(b * x) + c + 0.05 * random.normal(size=30)
        yield (x, y), np.array([1.0, b * random.uniform(1, 5), 0.0])


@DTYPES
@pytest.mark.parametrize("number", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_growth_curves(dtype, number):
    """Of starts like these 59 of 300 were called converged at points where the model promised up to
    nine tenths of the cost.
    """
    solved = 0
    for data, start in growth_curves(number):
        data = tuple(array.astype(dtype) for array in data)
        solution = lmjax.least_squares(growth, start.astype(dtype), data)
        check_claim(growth, solution, start, data)
        solved += solution.status.success
    assert solved >= 0.97 * number


@pytest.mark.parametrize("start", [-8.0, -4.0, 6.0, 12.0])
def test_starts_whose_costs_are_forty_orders_of_magnitude_higher(start):
    x = np.linspace(0.0, 4.0, 30)

    def decay(params, x, y):
        return params[0] * jnp.exp(params[1] * x) - y

    data = (x, 2.0 * np.exp(0.5 * x))
    start = np.array([1.0, start])
    check_claim(decay, lmjax.least_squares(decay, start, data), start, data)


#: Two exponentials of nearly equal rates, whose columns are off by a hundred roundings: J in single
#: precision promises a thousandth of the cost, in double three tenths. A success there is not to be
#: believed, and nothing in single precision tells it.
KNOWN_TO_BE_FALSE = {("Osborne 1", 100)}


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_in_single_precision(problem):
    for factor in (1, 10, 100):
        if (problem.name, factor) in KNOWN_TO_BE_FALSE:
            continue
        start = problem.start(factor).astype("float32")
        check_claim(problem.residual_fn, lmjax.least_squares(problem.residual_fn, start), start)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:residual_fn. returned one number")  # the squares of a sum
@DTYPES
def test_a_singular_zero_that_parameters_approach_by_halves(dtype):
    solution = lmjax.least_squares(lambda x: x @ x, np.ones(2, dtype))
    assert solution.status is Status.ZERO
    assert solution.cost < 4 * np.finfo(dtype).eps ** 2
    assert solution.num_evaluations < 100


@DTYPES
@pytest.mark.parametrize("far", [1e6, 1e9])
def test_a_far_start_of_a_solution_that_is_not_zero_keeps_its_digits(dtype, far):
    x = np.arange(1.0, 8.0).astype(dtype)
    solution = lmjax.least_squares(lambda p, x: p * x - 3 * x, np.array(far, dtype), (x,))
    assert solution.status.success
    assert solution.params == pytest.approx(3, rel=4 * float(np.finfo(dtype).eps))


@DTYPES
def test_a_redundant_parameter_is_no_failure_where_rows_tell_chance_from_a_valley(dtype):
    """Only the product of the first two counts."""
    random = np.random.default_rng(0)
    x = random.normal(size=5000).astype(dtype)
    y = (3 * x + 1 + random.normal(size=5000)).astype(dtype)
    solution = lmjax.least_squares(
        lambda p, x, y: p[0] * p[1] * x + p[2] - y, np.ones(3, dtype), (x, y)
    )
    assert solution.status.success
    assert solution.params[0] * solution.params[1] == pytest.approx(
        np.polyfit(x.astype(float), y.astype(float), 1)[0], rel=1e-3
    )


def test_more_redundant_parameters_in_a_program_of_the_callers():
    """Lengths of points under a matrix determine it up to a rotation: three of nine parameters."""
    random = np.random.default_rng(0)
    truth, points = (
        np.array([[1.2, 0.1, 0.0], [0.05, 0.9, -0.2], [0.0, 0.1, 1.1]]),
        random.normal(size=(20_000, 3)),
    )
    lengths = np.linalg.norm(points @ truth.T, axis=1) + 0.1 * random.normal(size=20_000)

    def residuals(matrix, points, lengths):
        return jax.vmap(lambda point: jnp.linalg.norm(matrix @ point))(points) - lengths

    with jax.enable_x64(True):
        solution = jax.jit(lambda start: lmjax.least_squares(residuals, start, (points, lengths)))(
            jnp.eye(3)
        )
    assert Status(int(solution.status_code)).success


@pytest.mark.slow
def test_in_double_precision_a_redundant_parameter_of_few_data_is_none_either():
    x = np.arange(1.0, 8.0)
    y = np.array([3.1, 4.9, 7.2, 8.8, 11.1, 13.0, 14.8])
    solution = lmjax.least_squares(lambda p, x, y: p[0] * p[1] * x - y, np.ones(2), (x, y))
    assert solution.status.success
    assert solution.params[0] * solution.params[1] == pytest.approx(x @ y / (x @ x), rel=1e-12)


@pytest.mark.slow
def test_columns_whose_squares_underflow_are_not_orthogonal():
    """The first two have lengths of 1e-174."""
    x = np.linspace(400, 5700, 10)
    y = np.array([109, 62, 39, 13, 10, 4, 2, 0, 1, 2.0])
    solution = lmjax.least_squares(
        lambda p, x, y: p[0] * jnp.exp(-p[1] * x) + p[2] - y, np.ones(3), (x, y)
    )
    assert solution.status is Status.ILL_CONDITIONED


def test_residuals_whose_squares_underflow_are_not_fitted():
    x = np.linspace(0, 4, 40)
    y = (1e-22 * np.exp(-x)).astype("float32")
    start = np.array([2e-22, 0.5], "float32")
    solution = lmjax.least_squares(
        lambda p, x, y: p[0] * jnp.exp(-p[1] * x) - y, start, (x.astype("float32"), y)
    )
    assert solution.status is Status.UNDERFLOW
    np.testing.assert_array_equal(solution.params, start)


@DTYPES
def test_a_start_at_the_solution_is_one(dtype):
    x = np.linspace(0, 4, 40).astype(dtype)
    solution = lmjax.least_squares(
        lambda p, x: p[0] * jnp.exp(-p[1] * x) - 2 * jnp.exp(-x), np.array([2, 1], dtype), (x,)
    )
    assert solution.status.success
    assert solution.cost == 0


def saddle(params):
    """The cost is least at y = ±1, and has a saddle between them."""
    return jnp.stack([params[0] - 3.0, params[1] ** 2 - 1.0])


@pytest.mark.slow
@pytest.mark.parametrize("start", [[0.0, 0.0], [3.0, 0.0]])
def test_a_saddle_is_left(start):
    solution = lmjax.least_squares(saddle, np.array(start))
    assert solution.status.success
    assert abs(solution.params[1]) == pytest.approx(1, rel=1e-9)


def test_a_saddle_that_cannot_be_left_for_a_bound_is_none():
    solution = lmjax.least_squares(saddle, np.array([0.0, 0.0]), bounds=([-5.0, 0.0], [5.0, 0.0]))
    assert solution.status.success
    np.testing.assert_allclose(solution.params, [3.0, 0.0], atol=1e-9)


@pytest.mark.slow
def test_a_first_step_that_moves_nothing_is_made_longer():
    """The first λ is a tenth of the largest entry of JᵀJ/D, beside which a parameter of 1e-30 does
    not move.
    """
    x = np.linspace(0, 4, 40)
    for unit in (1.0, 1e-24, 1e-30):
        y = unit * (2.5 * np.exp(-1.3 * x) + 0.02 * np.sin(37 * x))
        solution = lmjax.least_squares(
            lambda p, x, y: p[0] * jnp.exp(-p[1] * x) - y, np.array([unit, 0.1]), (x, y)
        )
        np.testing.assert_allclose(solution.params, [2.49868021 * unit, 1.29937682], rtol=1e-7)


@pytest.mark.parametrize("polish", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"gtol": 1e-3, "ftol": 0, "xtol": 0}, Status.GRADIENT),
        ({"gtol": 0, "ftol": 1e-5, "xtol": 0, "confirmation": 1e-3}, Status.COST),
        ({"gtol": 0, "ftol": 0, "xtol": 1e-3, "confirmation": 1e-3}, Status.STEP),
    ],
)
def test_a_wider_tolerance_is_what_is_confirmed(options, status, polish):
    (data, start), *_ = growth_curves(1)
    solver = lmjax.LevenbergMarquardt(polish=polish, **options)
    assert lmjax.least_squares(growth, start, data, solver=solver).status is status


POWERS = st.integers(-30, 30)


def runs_in_units(dtype, powers, power_of, solver=None):
    """The same fit from the same start, plain and in units that are those powers of ten."""
    x = np.linspace(0, 4, 40)
    y = (2.5 * np.exp(-1.3 * x) + 0.3 + 0.02 * np.sin(37 * x)).astype(dtype)

    def residuals(params, x, y, units):
        return units[3] * (
            units[0] * params[0] * jnp.exp(-units[1] * params[1] * x) + units[2] * params[2] - y
        )

    for units in (np.ones(4), np.array([power_of**power for power in powers])):
        start = (np.array([1.0, 0.1, 0.0]) / units[:3]).astype(dtype)
        solution = lmjax.least_squares(
            residuals, start, (x.astype(dtype), y, units.astype(dtype)), solver=solver
        )
        yield solution, np.asarray(solution.params, float) * units[:3]


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(powers=st.tuples(POWERS, POWERS, POWERS, POWERS))
def test_no_choice_of_units_changes_the_path(powers):
    """Of the data, of x (which is one over that of the rate), or of any parameter; one of them
    starts at zero.
    """
    check_units(powers)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(powers=st.tuples(POWERS, POWERS, POWERS, POWERS))
def test_no_choice_of_units_does_in_many_more(powers):
    check_units(powers)


def check_units(powers):
    (plain, params), (scaled, same) = runs_in_units(
        "float64", powers, 10.0, lmjax.LevenbergMarquardt(max_steps=4)
    )
    assert scaled.num_evaluations == plain.num_evaluations
    np.testing.assert_allclose(same, params, rtol=1e-10)
    (plain, params), (scaled, same) = runs_in_units("float64", powers, 10.0)
    assert scaled.status.success
    # Where the cost is flat, rounding decides.
    assert abs(int(scaled.num_steps) - int(plain.num_steps)) <= 2
    np.testing.assert_allclose(same, params, rtol=1e-10)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(powers=st.tuples(*4 * [st.integers(-4, 4)]))
def test_nor_does_it_in_single_precision_as_far_as_its_range_goes(powers):
    """Powers of two, so that the data are the same numbers."""
    (_, params), (scaled, same) = runs_in_units("float32", powers, 16.0)
    assert scaled.status.success
    np.testing.assert_allclose(same, params, rtol=1e-4)


@pytest.mark.slow
def test_the_functions_of_this_file_have_the_minima_that_they_claim():
    with jax.enable_x64(True):
        assert is_stationary(saddle, np.array([3.0, 1.0]))
        assert not is_stationary(saddle, np.array([3.0, 0.9]))
