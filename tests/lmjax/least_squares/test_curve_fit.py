"""``lmjax.curve_fit`` beside SciPy's."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

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


@pytest.mark.slow
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
    expected, expected_covariance = scipy.optimize.curve_fit(
        numpy_curve, X, Y, **options, **tolerances
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-4)
    assert isinstance(got, np.ndarray)
    assert got.dtype == covariance.dtype == np.float64


CURVES = {  # curve, of JAX's or NumPy's functions; parameters of the data; start
    "line": (lambda np: lambda x, a, b: a + b * x, [1.0, -2.0], [0.0, 0.0]),
    "power": (lambda np: lambda x, a, b: a * (x + 1) ** b, [2.0, 0.7], [1.0, 1.0]),
    "logistic": (
        lambda np: lambda x, a, b, c: a / (1 + np.exp(-b * (x - c))),
        [3.0, 2.0, 1.5],
        [1.0, 1.0, 1.0],
    ),
    "gauss": (
        lambda np: lambda x, a, b, c, d: a * np.exp(-(((x - b) / c) ** 2)) + d,
        [2.0, 1.7, 0.6, 0.3],
        [1.0, 1.5, 1.0, 0.0],
    ),
    "lorentz": (
        lambda np: lambda x, a, b, c: a / (1 + ((x - b) / c) ** 2),
        [2.0, 2.2, 0.5],
        [1.0, 2.0, 1.0],
    ),
    "sine": (lambda np: lambda x, a, b, c: a * np.sin(b * x + c), [1.5, 2.0, 0.4], [1.0, 1.9, 0.0]),
    "michaelis": (lambda np: lambda x, a, b: a * x / (b + x), [3.0, 0.8], [1.0, 1.0]),
    "two decays": (
        lambda np: lambda x, a, b, c, d: a * np.exp(-b * x) + c * np.exp(-d * x),
        [2.0, 4.0, 1.0, 0.5],
        [1.0, 3.0, 1.0, 0.2],
    ),
    "rational": (
        lambda np: lambda x, a, b, c: (a + b * x) / (1 + c * x),
        [1.0, 3.0, 0.5],
        [1.0, 1.0, 0.1],
    ),
    "gompertz": (
        lambda np: lambda x, a, b, c: a * np.exp(-b * np.exp(-c * x)),
        [2.0, 3.0, 1.4],
        [1.0, 1.0, 1.0],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_ten_curves_agree_with_scipy(name):
    make, truth, start = CURVES[name]
    y = make(np)(X, *truth) + 0.05 * np.random.default_rng(1).normal(size=30)
    got, covariance, information, _, ier = lmjax.curve_fit(
        make(jnp), X, y, start, SIGMA, full_output=True
    )
    expected, expected_covariance, expected_information, _, _ = scipy.optimize.curve_fit(
        make(np), X, y, start, SIGMA, full_output=True, xtol=1e-14, ftol=1e-14, gtol=0.0
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(information["fvec"], expected_information["fvec"], atol=1e-5)
    assert information["nfev"] > 0
    assert ier in (1, 2, 3, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sigma", [None, 0.5, SIGMA, _ROOT @ _ROOT.T], ids=["none", "number", "vector", "matrix"]
)
def test_missing_values_are_left_out(sigma):
    x, y = X.copy(), Y.copy()
    x[3], y[7] = np.nan, np.nan
    got, covariance = lmjax.curve_fit(curve, x, y, sigma=sigma, nan_policy="omit")
    kept = ~(np.isnan(x) | np.isnan(y))  # SciPy 1.14 does not leave them out of sigma
    left = (
        sigma
        if np.ndim(sigma) == 0
        else sigma[kept]
        if sigma.ndim == 1
        else sigma[np.ix_(kept, kept)]
    )
    expected, expected_covariance = scipy.optimize.curve_fit(
        numpy_curve, x[kept], y[kept], sigma=left, xtol=1e-14, ftol=1e-14
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-4)


@pytest.mark.slow
def test_what_scipy_takes():
    """Lists, its Bounds, its methods and its tolerances; a start between the bounds."""
    plain, _ = lmjax.curve_fit(curve, X, Y)
    got, _ = lmjax.curve_fit(
        curve, list(X), list(Y), method="trf", maxfev=900, ftol=1e-14, max_nfev=None
    )
    np.testing.assert_allclose(got, plain, rtol=1e-9)
    # Ones lie outside.
    got, _ = lmjax.curve_fit(
        curve, X, Y, bounds=scipy.optimize.Bounds([2, 0.5, -np.inf], [3, np.inf, 2])
    )
    np.testing.assert_allclose(got, plain, rtol=1e-9)


def test_a_second_curve_compiles_nothing(caplog):
    lmjax.curve_fit(curve, X, Y)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        lmjax.curve_fit(curve, X, Y + 0.1)
    assert "Compiling" not in caplog.text


@pytest.mark.slow
def test_several_predictors_and_a_constant_curve():
    x = GENERATOR.normal(size=(2, 20))
    got, _ = lmjax.curve_fit(lambda x, a, b: a * x[0] + b * x[1], x, 3 * x[0] - x[1])
    np.testing.assert_allclose(got, [3, -1], rtol=1e-12)
    mean, covariance = lmjax.curve_fit(lambda x, a: a, X, Y)
    np.testing.assert_allclose(mean, [Y.mean()], rtol=1e-12)
    np.testing.assert_allclose(covariance, [[Y.var(ddof=1) / Y.size]], rtol=1e-10)


@pytest.mark.slow
def test_parameters_that_the_data_do_not_determine_have_infinite_variance():
    with pytest.warns(UserWarning, match="do not determine"):
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
        ({"bounds": ([0, 1], 3)}, "bounds"),
        ({"f": lambda x, *p: x}, "p0"),
        ({"method": "newton"}, "method"),
        ({"nan_policy": "propagate"}, "nan_policy"),
        ({"ydata": np.where(X > 3, np.nan, Y), "nan_policy": "raise"}, "ydata"),
        ({"ydata": Y * np.nan, "nan_policy": "omit"}, "every measurement"),
        ({"xdata": X[:-1], "nan_policy": "omit"}, "nan_policy"),
        ({"xdata": ["a"] * 30}, "xdata: expected numbers, got text"),
        ({"p0": "abc"}, "p0: expected one number for each parameter"),
        ({"p0": [1j, 1, 1]}, "p0: expected one number for each parameter"),
        ({"p0": [[1, 1, 1]]}, r"p0: .*got shape \(1, 3\)"),
        ({"loss": lmjax.Huber(), "f_scale": 0.1}, "f_scale: .*has its own scale"),
    ],
)
def test_wrong_input_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        lmjax.curve_fit(**({"f": curve, "xdata": X, "ydata": Y} | options))


def test_no_minimum_is_an_error():
    with pytest.raises(RuntimeError, match="step limit"):
        lmjax.curve_fit(curve, X, Y, solver=lmjax.LevenbergMarquardt(max_steps=1))


def test_options_that_it_does_not_know():
    with pytest.raises(TypeError, match=r"diff_step.*solver="):
        lmjax.curve_fit(curve, X, Y, diff_step=1e-3)


@pytest.mark.slow
def test_one_number_stands_for_all_measurements():
    """As SciPy has it, for a function that gives residuals."""
    got, covariance = lmjax.curve_fit(lambda x, a, b, c: curve(x, a, b, c) - Y, X, 0)
    expected, expected_covariance = lmjax.curve_fit(curve, X, Y)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("variance", [0.25, 4.0])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_matrix_is_a_covariance_of_however_few(variance, count):
    x, y = np.full(count, 2.0), np.full(count, 3.0)
    for sigma in (variance * np.eye(count), np.full(count, variance**0.5), variance**0.5):
        _, covariance = lmjax.curve_fit(lambda x, a: a * x, x, y, sigma=sigma, absolute_sigma=True)
        np.testing.assert_allclose(covariance, variance / (4 * count), rtol=1e-12)


@pytest.mark.parametrize(
    "sigma",
    [
        np.ones((30, 30)),
        np.full((30, 30), np.nan),
        np.full(30, np.inf),
        0.0,
        [[0.1]],
        np.full((30, 1), 0.1),
    ],
)
def test_no_covariance_is_named(sigma):
    with pytest.raises(ValueError, match=r"^sigma: "):
        lmjax.curve_fit(curve, X, Y, sigma=sigma)


@pytest.mark.slow
@pytest.mark.usefixtures("double_everywhere")
@pytest.mark.parametrize("jac", ["2-point", "3-point"])
@pytest.mark.parametrize(
    "bounds",
    [(-np.inf, np.inf), ([-np.inf, 0.0, -np.inf], [2.0, 5.0, 0.5])],
    ids=["free", "bounded"],
)
def test_differences_take_the_place_of_derivatives(jac, bounds):
    """Also at a bound, beyond which the curve is not asked for."""

    def checked(x, a, b, c):
        assert bounds[0] == -np.inf or (a <= 2 and 0 <= b <= 5 and c <= 0.5)
        return numpy_curve(x, a, b, c)

    def opaque(x, a, b, c):
        return jax.pure_callback(
            checked, jax.ShapeDtypeStruct(x.shape, x.dtype), x, a, b, c, vmap_method="sequential"
        )

    start = [1.0, 1.0, 0.0]
    got, covariance = lmjax.curve_fit(opaque, X, Y, start, bounds=bounds, jac=jac)
    expected, expected_covariance = lmjax.curve_fit(curve, X, Y, start, bounds=bounds)
    # Forward differences are good to half of the digits; the rest is what the data make of it.
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("central", [False, True])
def test_differences_follow_the_units(central):
    """Of powers of two, exactly."""
    from lmjax._src.arrays.differences import Differences

    def function(p):
        return jnp.stack([p[0] * jnp.exp(p[1]), p[0] + p[1] ** 2])

    with jax.enable_x64(True):
        endless = np.full(2, np.inf)
        plain = Differences(function, central, -endless, endless)(jnp.array([1.5, 0.5]))
        scaled = Differences(lambda p: function(p * 2.0**-60), central, -endless, endless)(
            jnp.array([1.5, 0.5]) * 2.0**60
        )
        exact = jax.jacfwd(function)(jnp.array([1.5, 0.5]))
    np.testing.assert_array_equal(np.asarray(scaled) * 2.0**60, plain)
    np.testing.assert_allclose(plain, exact, rtol=1e-9 if central else 1e-7)


def _in_place(x, a, b):
    out = np.zeros(30)
    for k in range(30):
        out[k] = a * x[k] + b
    return out


def _branching(x, a, b):
    if a > 0:
        return a * x + b
    return b * x


UNTRACEABLE = {
    "numpy": lambda x, a, b: a * np.exp(-b * x),
    "math": lambda x, a, b: a * math.exp(b) * x,
    "float": lambda x, a, b: float(a) * x + b,
    "if": _branching,
    "mask": lambda x, a, b: jnp.concatenate([a * x[x < 2], b * x[x >= 2]]),
    "in place": _in_place,
    "scipy": lambda x, a, b: scipy.special.erf(a * x) + b,
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_a_curve_that_jax_cannot_trace_is_told_how_to_be_written(name):
    """The line as well, and in least_squares and multi_start as in curve_fit."""
    f = UNTRACEABLE[name]
    line = f.__code__.co_firstlineno
    words = (
        r"JAX cannot trace test_curve_fit.py, line "
        rf"({'|'.join(str(line + k) for k in range(4))}), in .*jax\.numpy.*jnp\.where.*jac="
    )

    def residuals(p, x, y):
        return f(x, *p) - y

    with pytest.raises(TypeError, match="^f: " + words):
        lmjax.curve_fit(f, X, Y)
    with pytest.raises(TypeError, match="^residual_fn: " + words):
        lmjax.least_squares(residuals, np.ones(2), (X, Y))
    with pytest.raises(TypeError, match="^residual_fn: " + words):
        lmjax.multi_start(0, residuals, (np.ones(2), 2 * np.ones(2)), (X, Y), num_starts=2)


@pytest.mark.usefixtures("double_everywhere")
def test_a_curve_without_derivatives_is_told_of_jac():
    def opaque(x, a, b, c):
        return jax.pure_callback(
            numpy_curve,
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            x,
            a,
            b,
            c,
            vmap_method="sequential",
        )

    with pytest.raises(TypeError, match=r"^f: JAX has no derivative of it.*jac='2-point'"):
        lmjax.curve_fit(opaque, X, Y)


def test_errors_of_the_callers_own_stay_as_they_are():
    def f(x, a, b, c):
        raise TypeError("my own")

    with pytest.raises(TypeError, match=r"^my own"):
        lmjax.curve_fit(f, X, Y)


def test_traced_calls_are_told_of_least_squares():
    for transformed in (jax.jit, jax.grad):
        with pytest.raises(TypeError, match=r"curve_fit: .*lmjax\.least_squares"):
            transformed(lambda y: lmjax.curve_fit(curve, X, y)[0][0])(Y)
