"""``lmjax.curve_fit`` beside SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import lmjax

GENERATOR = np.random.default_rng(0)
X = np.linspace(0, 4, 30)
Y = 2.5 * np.exp(-1.3 * X) + 0.5 + 0.02 * GENERATOR.normal(size=30)
SIGMA = np.linspace(0.01, 0.05, 30)
_ROOT = np.tril(0.002 * GENERATOR.normal(size=(30, 30))) + 0.03 * np.eye(30)


def curve(x, a, b, c):
    return a * jnp.exp(-b * x) + c


def numpy_curve(x, a, b, c):
    return a * np.exp(-b * x) + c


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"p0": [2.0, 1.0, 0.0]},
        {"sigma": SIGMA},
        {"sigma": SIGMA, "absolute_sigma": True},
        {"sigma": _ROOT @ _ROOT.T, "absolute_sigma": True},
        {"bounds": (0, [3.0, 2.0, 1.0])},
        {"bounds": (-np.inf, np.inf)},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_agrees_with_scipy(options):
    got, covariance = lmjax.curve_fit(curve, X, Y, **options)
    tolerances = {"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14}
    expected, expected_covariance = scipy.optimize.curve_fit(numpy_curve, X, Y, **options, **tolerances)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-4)
    assert isinstance(got, np.ndarray)
    assert got.dtype == covariance.dtype == np.float64


def test_a_second_curve_compiles_nothing(caplog):
    lmjax.curve_fit(curve, X, Y)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        lmjax.curve_fit(curve, X, Y + 0.1)
    assert "Compiling" not in caplog.text


def test_several_predictors_and_a_constant_curve():
    x = GENERATOR.normal(size=(2, 20))
    got, _ = lmjax.curve_fit(lambda x, a, b: a * x[0] + b * x[1], x, 3 * x[0] - x[1])
    np.testing.assert_allclose(got, [3, -1], rtol=1e-12)
    mean, covariance = lmjax.curve_fit(lambda x, a: a, X, Y)
    np.testing.assert_allclose(mean, [Y.mean()], rtol=1e-12)
    np.testing.assert_allclose(covariance, [[Y.var(ddof=1) / Y.size]], rtol=1e-10)


def test_parameters_that_the_data_do_not_determine_have_infinite_variance():
    _, covariance = lmjax.curve_fit(lambda x, a, b: (a + b) * x, X, Y)
    assert np.isinf(covariance).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ydata": Y * np.nan}, "ydata: 30 of 30"),
        ({"xdata": np.where(X > 3, np.inf, X)}, "xdata"),
        ({"ydata": []}, "ydata"),
        ({"ydata": Y[:-1]}, "f: returned shape"),
        ({"sigma": SIGMA[:-1]}, "sigma"),
        ({"sigma": -SIGMA}, "sigma"),
        ({"sigma": -np.eye(30)}, "sigma"),
        ({"bounds": (1, 0)}, "bounds"),
        ({"bounds": 3}, "bounds"),
        ({"f": lambda x, *p: x}, "p0"),
    ],
)
def test_wrong_input_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        lmjax.curve_fit(**({"f": curve, "xdata": X, "ydata": Y} | options))


def test_no_minimum_is_an_error():
    with pytest.raises(RuntimeError, match="step limit"):
        lmjax.curve_fit(curve, X, Y, solver=lmjax.LevenbergMarquardt(max_steps=1))
