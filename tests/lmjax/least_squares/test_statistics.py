"""The statistics of a solution, beside statsmodels, SciPy and repeated sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
import statsmodels.api

import lmjax
from lmjax._src.least_squares.student_t import normal_quantile, two_sided_quantile

GENERATOR = np.random.default_rng(3)
MATRIX = np.stack([np.ones(25), np.linspace(-1, 2, 25), GENERATOR.normal(size=25)], axis=1)
TARGET = MATRIX @ [1.0, -2.0, 0.5] + 0.3 * GENERATOR.normal(size=25)
NEW = GENERATOR.normal(size=(7, 3))


def linear(params, matrix, target):
    return matrix @ params - target


def predictions(params, matrix):
    return matrix @ params


def decay(params, x, y):
    return params["a"] * jnp.exp(-params["b"] * x) - y


@pytest.fixture(scope="module")
def solution():
    return lmjax.least_squares(linear, np.zeros(3), (MATRIX, TARGET))


@pytest.fixture(scope="module")
def reference():
    return statsmodels.api.OLS(TARGET, MATRIX).fit()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_student_t(dtype):
    quantile = jax.jit(jax.vmap(two_sided_quantile))
    degrees, levels = np.meshgrid(
        [1, 2, 3, 7, 30, 99, 100, 999, 1000, 10**6], [0.1, 0.5, 0.9, 0.95, 0.999]
    )
    with jax.enable_x64(dtype == np.float64):
        got = quantile(levels.astype(dtype).ravel(), degrees.ravel())
        assert np.isinf(two_sided_quantile(dtype(0.9), 0))
        np.testing.assert_allclose(
            normal_quantile(jnp.asarray(0.95, dtype)), scipy.stats.norm.ppf(0.975), rtol=3e-6
        )
    level, half = levels.astype(dtype).astype(float).ravel(), degrees.ravel() / 2
    # By the incomplete beta function: scipy.stats.t.ppf is off by 4e-11 before SciPy 1.17.
    inside, outside = (
        scipy.special.betaincinv(0.5, half, level),
        scipy.special.betaincinv(half, 0.5, 1 - level),
    )
    expected = np.sqrt(2 * half * inside / outside)
    np.testing.assert_allclose(got, expected, rtol=1e-4 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_confidence_intervals_agree_with_statsmodels(solution, reference, level):
    lower, upper = solution.confidence_intervals(level)
    np.testing.assert_allclose(
        np.stack([lower, upper], axis=1), reference.conf_int(1 - level), rtol=1e-9
    )
    assert solution.degrees_of_freedom() == reference.df_resid == 22
    np.testing.assert_allclose(solution.residuals(), -reference.resid, atol=1e-12)


def test_bands_agree_with_statsmodels(solution, reference):
    expected = reference.get_prediction(NEW).summary_frame(alpha=0.1)
    band = solution.predict_interval(predictions, (NEW,), 0.9)
    np.testing.assert_allclose(band.lower, expected["obs_ci_lower"], rtol=1e-9)
    np.testing.assert_allclose(band.upper, expected["obs_ci_upper"], rtol=1e-9)
    band = solution.predict_interval(predictions, (NEW,), 0.9, kind="confidence")
    np.testing.assert_allclose(band.lower, expected["mean_ci_lower"], rtol=1e-9)
    np.testing.assert_allclose(band.upper, expected["mean_ci_upper"], rtol=1e-9)


def test_known_sigmas_use_the_normal_distribution():
    sigma = np.linspace(0.1, 0.5, 25)
    solution = lmjax.least_squares(linear, np.zeros(3), (MATRIX / sigma[:, None], TARGET / sigma))
    expected = np.linalg.inv(MATRIX.T @ (MATRIX / sigma[:, None] ** 2))
    np.testing.assert_allclose(
        solution.standard_errors(absolute_sigma=True), np.sqrt(np.diag(expected)), rtol=1e-9
    )
    lower, upper = solution.confidence_intervals(0.95, absolute_sigma=True)
    np.testing.assert_allclose(
        upper - lower, 2 * scipy.stats.norm.ppf(0.975) * np.sqrt(np.diag(expected)), rtol=1e-9
    )
    band = solution.predict_interval(
        predictions, (NEW,), sigma=np.full(7, 0.2), absolute_sigma=True
    )
    width = scipy.stats.norm.ppf(0.975) * np.sqrt(
        np.einsum("ij,jk,ik->i", NEW, expected, NEW) + 0.2**2
    )
    np.testing.assert_allclose(band.upper - band.lower, 2 * width, rtol=1e-9)


def test_condition(solution):
    expected = np.linalg.cond(MATRIX / np.linalg.norm(MATRIX, axis=0))
    assert solution.condition() == pytest.approx(expected, rel=1e-9)
    assert isinstance(solution.condition(), float)


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say():
    x = np.linspace(0, 3, 15)
    noise = 0.05 * np.random.default_rng(0).normal(size=(800, 15))
    truth = {"a": np.array(2.0), "b": np.array(1.5)}

    def covered(noise):
        solution = lmjax.least_squares(decay, truth, (x, 2.0 * jnp.exp(-1.5 * x) + noise))
        lower, upper = solution.confidence_intervals(0.9)
        band = solution.predict_interval(
            lambda p, x: p["a"] * jnp.exp(-p["b"] * x), (jnp.asarray(0.7),), 0.9, kind="confidence"
        )
        mean = 2.0 * jnp.exp(-1.5 * 0.7)
        return [
            (lower["a"] <= 2) & (upper["a"] >= 2),
            (lower["b"] <= 1.5) & (upper["b"] >= 1.5),
            (band.lower <= mean) & (mean <= band.upper),
        ]

    with jax.enable_x64(True):
        shares = np.mean(jax.jit(jax.vmap(covered))(noise), axis=1)
    # Three standard deviations of a share of 800.
    np.testing.assert_allclose(shares, 0.9, atol=0.032)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_structure_and_dtype(dtype):
    x = np.linspace(0, 3, 12)
    start = {"a": dtype(1.0), "b": np.ones((1, 1), dtype)}
    solution = lmjax.least_squares(
        lambda p, x, y: {"r": p["a"] * jnp.exp(-p["b"][0, 0] * x) - y},
        start,
        (x, np.exp(-x) + 0.1 * x),
    )
    assert jax.tree.map(np.shape, solution.residuals()) == {"r": (12,)}
    for tree in (solution.standard_errors(), *solution.confidence_intervals()):
        assert jax.tree.map(np.shape, tree) == {"a": (), "b": (1, 1)}
        assert {np.asarray(leaf).dtype for leaf in jax.tree.leaves(tree)} == {np.dtype(dtype)}
    band = solution.predict_interval(
        lambda p, x: {"y": p["a"] * x, "one": p["b"]}, (np.arange(3.0),)
    )
    assert jax.tree.map(np.shape, band.upper) == {"y": (3,), "one": (1, 1)}
    assert np.all(band.lower["y"] < band.upper["y"])


@pytest.mark.slow
def test_a_parameter_on_its_bound_counts_as_known():
    solution = lmjax.least_squares(
        linear, np.zeros(3), (MATRIX, TARGET), bounds=(None, [np.inf, np.inf, 0.1])
    )
    reference = statsmodels.api.OLS(TARGET - 0.1 * MATRIX[:, 2], MATRIX[:, :2]).fit()
    lower, upper = solution.confidence_intervals()
    np.testing.assert_allclose(
        np.stack([lower, upper], axis=1)[:2], reference.conf_int(), rtol=1e-9
    )
    assert lower[2] == upper[2] == 0.1
    assert solution.degrees_of_freedom() == 23
    assert solution.condition() == pytest.approx(
        np.linalg.cond(MATRIX[:, :2] / np.linalg.norm(MATRIX[:, :2], axis=0))
    )
    held = lmjax.least_squares(
        linear, np.zeros(3), (MATRIX, TARGET), bounds=(None, [np.inf, np.inf, 0.6])
    )
    assert held.confidence_intervals(0.999).upper[2] <= 0.6


@pytest.mark.slow
def test_parameters_that_the_data_do_not_determine_have_endless_intervals():
    solution = lmjax.least_squares(
        lambda p: jnp.stack([p[0] + p[1], p[0] + p[1] - 1, 2.0 + 0 * p[0]]), np.zeros(2)
    )
    assert np.isinf(solution.condition())
    assert np.isneginf(solution.confidence_intervals().lower).all()
    assert np.isposinf(solution.predict_interval(lambda p: p[0]).upper)


def test_a_second_call_compiles_nothing(solution, caplog):
    solution.confidence_intervals(0.9)
    solution.predict_interval(predictions, (NEW,), 0.9)
    other = lmjax.least_squares(linear, np.ones(3), (MATRIX, 2 * TARGET))
    with jax.log_compiles(), caplog.at_level("WARNING"):
        other.confidence_intervals(0.99)
        other.predict_interval(predictions, (2 * NEW,), 0.99)
    assert "Compiling" not in caplog.text


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: s.confidence_intervals(95), ValueError, "level.*95"),
        (lambda s: s.confidence_intervals(0), ValueError, "level"),
        (lambda s: s.predict_interval(predictions, (NEW,), kind="both"), ValueError, "kind"),
        (lambda s: s.predict_interval(predictions, NEW), TypeError, r"args=\(data,\)"),
        (lambda s: s.predict_interval("text"), TypeError, "function"),
        (lambda s: s.predict_interval(predictions, (NEW,), sigma=np.ones(3)), ValueError, "sigma"),
    ],
)
def test_wrong_input_is_named(solution, call, error, words):
    with pytest.raises(error, match=words):
        call(solution)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "unit"),
    [
        ("float32", 1e-22),
        ("float32", 1e-15),
        ("float32", 1e15),
        ("float64", 1e-170),
        ("float64", 1e150),
    ],
)
@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")  # which says what is out of range
def test_errors_where_squares_of_residuals_or_columns_are_out_of_range(dtype, unit):
    """Of the amplitude of a decay in small and large units, at its minimum, where the run
    starts.
    """
    x = np.linspace(0, 4, 40)
    minimum = np.array([2.49868021, 1.29937682])

    def errors(unit, dtype):
        y = (unit * (2.5 * np.exp(-1.3 * x) + 0.02 * np.sin(37 * x))).astype(dtype)
        start = (minimum * [unit, 1]).astype(dtype)
        solution = lmjax.least_squares(lambda p, x, y: p[0] * jnp.exp(-p[1] * x) - y, start, (x, y))
        return np.asarray(solution.standard_errors(), float) / [unit, 1]

    np.testing.assert_allclose(
        errors(unit, dtype), errors(1.0, "float64"), rtol=1e-3 if dtype == "float32" else 1e-6
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")
def test_columns_of_tiny_entries_that_are_nearly_parallel_determine_nothing():
    """Of 1e-174, all along one axis but for rounding: their squares are zero."""
    x = np.linspace(400.0, 5700.0, 10)
    y = np.array([109, 62, 39, 13, 10, 4, 2, 0, 1, 2.0])
    solution = lmjax.least_squares(
        lambda p, x, y: p[0] * jnp.exp(-p[1] * x) + p[2] - y, np.array([1.0, 1.0, 24.2]), (x, y)
    )
    assert np.all(np.isinf(solution.standard_errors()))
    assert np.isinf(solution.condition())
