"""Fits to data drawn again, beside what theory and SciPy's bootstrap say of linear models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lmjax
from lmjax._src.least_squares.intervals import bootstrap as module

GENERATOR = np.random.default_rng(3)
MATRIX = np.stack([np.ones(30), np.linspace(-1, 2, 30) ** 3], axis=1)
TARGET = MATRIX @ [1.0, -2.0] + 0.3 * GENERATOR.normal(size=30)
SKEWED = GENERATOR.exponential(size=30) ** 1.5


def linear(params, matrix, target):
    return matrix @ params["p"] - target


def mean(params, data):
    return params - data


@pytest.fixture(scope="module")
def line():
    return lmjax.least_squares(linear, {"p": np.zeros(2)}, (MATRIX, TARGET))


@pytest.fixture(scope="module")
def drawn(line):
    return line.bootstrap(0, n=3000)


def test_residuals_have_the_variance_of_the_noise(line, drawn):
    """The covariance is that of the modified residuals times (XᵀX)⁻¹."""
    inverse = np.linalg.inv(MATRIX.T @ MATRIX)
    leverages = np.einsum("ij,jk,ik->i", MATRIX, inverse, MATRIX)
    modified = line.residuals() / np.sqrt(1 - leverages)
    expected = np.std(modified) * np.sqrt(np.diag(inverse))
    assert drawn.params["p"].shape == (3000, 2)
    assert drawn.num_failed == 0
    assert drawn.status_codes.shape == (3000,)
    # Four standard deviations of a standard deviation of 3000.
    np.testing.assert_allclose(drawn.standard_errors()["p"], expected, rtol=4 / np.sqrt(6000))
    centre = np.mean(drawn.params["p"], axis=0) - line.params["p"]
    assert np.all(np.abs(centre) < 4 * expected / np.sqrt(3000))


def test_intervals_are_the_quantiles(drawn):
    lower, upper = drawn.interval(0.9)
    below = np.mean(drawn.params["p"] < lower["p"], axis=0)
    above = np.mean(drawn.params["p"] > upper["p"], axis=0)
    np.testing.assert_allclose([below, above], 0.05, atol=1 / 3000)


def test_the_same_key_draws_the_same(line, drawn, monkeypatch):
    again = line.bootstrap(jax.random.key(0), n=3000)
    np.testing.assert_array_equal(again.params["p"], drawn.params["p"])
    other = line.bootstrap(1, n=3000)
    assert np.all(other.params["p"] != drawn.params["p"])


@pytest.mark.slow
def test_fits_that_do_not_go_together_go_one_after_the_other(line, drawn, monkeypatch):
    monkeypatch.setattr("lmjax._src.least_squares.intervals.held_fits._BYTES", 30 * 2 * 8 * 1300)
    parts = line.bootstrap(0, n=3000)
    np.testing.assert_allclose(parts.params["p"], drawn.params["p"], rtol=1e-12)


def test_cases_and_bca_as_scipy_draws_them():
    solution = lmjax.least_squares(mean, 0.0, (SKEWED,))
    found = solution.bootstrap(0, n=20000, kind="cases")
    options = {"n_resamples": 20000, "rng": np.random.default_rng(0), "confidence_level": 0.9}
    width = np.std(SKEWED) / np.sqrt(30)
    assert found.standard_errors() == pytest.approx(width, rel=0.03)
    for kind in ("percentile", "bca"):
        expected = scipy.stats.bootstrap((SKEWED,), np.mean, method=kind, **options)
        got = found.interval(0.9, kind=kind)
        # The quantiles have standard deviations of 0.015 widths; BCa shifts them by 0.2 and 0.4.
        np.testing.assert_allclose(list(got), list(expected.confidence_interval), atol=0.08 * width)
    jackknife = np.mean(SKEWED) - SKEWED
    expected = -np.sum(jackknife**3) / np.sum(jackknife**2) ** 1.5 / 6
    np.testing.assert_allclose(found._acceleration, expected, rtol=1e-9)


def test_arrays_with_as_many_rows_are_of_one_table():
    """Rows stay together, whatever their widths; arrays of other lengths are drawn by
    themselves.
    """
    counts = jnp.ones(12, bool).at[jnp.array([2, 6, 7])].set(False)
    noise = module.Noise(*[jnp.zeros(12)] * 2, counts, *[jnp.zeros((1, 12))] * 2)
    key = jax.random.key(5)
    blocks = (module.Block(0, 4, 1), module.Block(4, 4, 2))
    index = np.asarray(module._other_cases(None, blocks, noise, key).index)
    rows = index[:4]
    np.testing.assert_array_equal(index[4:], (4 + 2 * rows[:, None] + [0, 1]).ravel())
    blocks = (module.Block(0, 4, 1), module.Block(4, 8, 1))
    index = np.asarray(module._other_cases(None, blocks, noise, key).index)
    assert set(index[:4]) <= {0, 1, 2, 3}
    assert set(index[4:]) <= set(range(4, 12))
    # What does not count is nobody's residual, and stays.
    assert index[2] == 2
    assert list(index[6:8]) == [6, 7]
    assert np.sum(np.isin(index, [2, 6, 7])) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["residuals", "cases"])
def test_weights_bounds_fixed_parameters_and_robust_losses_count(kind):
    weights = np.ones(30)
    weights[3] = 0
    target = np.array(TARGET)
    target[3] = np.nan
    target[20] += 8
    solution = lmjax.least_squares(
        lambda p, m, t: m @ jnp.stack([p["a"], p["b"]]) + p["c"] - t,
        {"a": 1.0, "b": -2.0, "c": 0.0},
        (MATRIX, target),
        weights=weights,
        loss=lmjax.Huber(0.5),
        bounds=({"a": 0.9, "b": None, "c": None}, None),
        fixed={"a": False, "b": False, "c": True},
    )
    found = solution.bootstrap(2, n=400, kind=kind)
    assert found.num_failed < 10
    assert np.min(found.params["a"]) >= 0.9
    assert np.all(found.params["c"] == 0)
    errors = found.standard_errors()
    assert errors["c"] == 0
    # The outlier, drawn again or not, does not rule.
    assert 0.01 < errors["b"] < 0.1
    lower, upper = found.interval(0.95, kind="bca")
    assert lower["b"] < solution.params["b"] < upper["b"]
    assert lower["c"] == upper["c"] == 0


@pytest.mark.slow
def test_fits_that_fail_are_counted():
    """One step suffices for no draw of a robust mean."""
    solution = lmjax.least_squares(mean, 0.0, (SKEWED,), loss="cauchy")
    hasty = lmjax.LevenbergMarquardt(max_steps=1)
    with pytest.warns(lmjax.ConvergenceWarning, match="200 of 200 fits have found no minimum"):
        found = solution.bootstrap(0, n=200, solver=hasty)
    assert found.num_failed == 200
    with pytest.raises(ValueError, match="200 of 200 fits have failed"):
        found.standard_errors()


@pytest.mark.slow
def test_single_precision():
    solution = lmjax.least_squares(mean, np.float32(0), (SKEWED,))
    found = solution.bootstrap(0, n=500)
    for leaf in (found.params, found.standard_errors(), *found.interval(kind="bca")):
        assert leaf.dtype == np.float32
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.bootstrap(0, n=0), "n: .*0"),
        (lambda s: s.bootstrap(0, kind="rows"), "kind: .*'rows'"),
        (lambda s: s.bootstrap(0, 3000).interval(95), "level.*95"),
        (lambda s: s.bootstrap(0, 3000).interval(kind="t"), "kind: .*'t'"),
    ],
    ids=["n", "kind", "level", "interval"],
)
def test_wrong_input_is_named(line, drawn, call, words):
    with pytest.raises(ValueError, match=words):
        call(line)
