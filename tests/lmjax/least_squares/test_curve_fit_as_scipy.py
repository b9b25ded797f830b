"""What SciPy's own tests ask of ``curve_fit``, asked of both.

Exceptions, each with its test at the end: a parameter on a bound counts as known, so that its
variance is 0; a start outside the bounds is moved with a warning, not refused; fewer measurements
than parameters give an infinite covariance with a warning, not an error; data with NaN under
``check_finite=False`` end in the error that no minimum was found; options that are SciPy's alone
are a TypeError.
"""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import lmjax

LINE_X, LINE_Y = np.arange(6.0), np.array([1.0, 1, 5, 7, 8, 12])
POWER_X, POWER_Y = np.array([1.0, 2, 3, 4, 5]), np.array([2.2, 8.5, 17.4, 33.0, 49.1])
TIGHT = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}


def line(x, a, b):
    return a * x + b


def power(x, a, b):
    return b * x**a


def decay(x, a, b):
    return a * jnp.exp(-b * x)


def numpy_decay(x, a, b):
    return a * np.exp(-b * x)


def both(ours, theirs, x, y, *args, rtol=1e-6, **options):
    """The parameters and covariance of lmjax, which are those of SciPy."""
    found = lmjax.curve_fit(ours, x, y, *args, **options)
    expected = scipy.optimize.curve_fit(theirs, x, y, *args, **TIGHT, **options)
    for one, other in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-10)
    return found


@pytest.mark.parametrize("method", [None, "lm", "trf", "dogbox"])
def test_one_and_two_parameters_by_every_method(method):
    both(lambda x, a: x**a, lambda x, a: x**a, POWER_X, POWER_Y, method=method)
    both(power, power, POWER_X, POWER_Y, method=method)


def test_all_outputs():
    popt, pcov, information, message, ier = lmjax.curve_fit(
        power, POWER_X, POWER_Y, full_output=True
    )
    np.testing.assert_allclose(information["fvec"], power(POWER_X, *popt) - POWER_Y, atol=1e-12)
    assert pcov.shape == (2, 2)
    assert information["nfev"] > 1
    assert message
    assert ier in (1, 2, 3, 4)


@pytest.mark.slow
def test_methods_of_objects_and_functions_with_a_fixed_argument():
    class Curve:
        def call(self, x, a, b):
            return power(x, a, b)

        @classmethod
        def of_class(cls, x, a, b):
            return power(x, a, b)

    expected = lmjax.curve_fit(power, POWER_X, POWER_Y)[0]
    for f in (Curve().call, Curve.of_class, lambda x, a, b: power(x, a, b)):
        np.testing.assert_allclose(lmjax.curve_fit(f, POWER_X, POWER_Y)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("absolute_sigma", [False, True])
@pytest.mark.parametrize("factor", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["vector", "matrix", "number"])
def test_errors_of_the_data(kind, factor, absolute_sigma):
    vector = factor * np.array([1.0, 2, 1, 2, 1, 2])
    sigma = {"vector": vector, "matrix": np.diag(vector**2), "number": factor}[kind]
    both(line, line, LINE_X, LINE_Y, [2, 0], sigma, absolute_sigma)


@pytest.mark.parametrize("absolute_sigma", [False, True])
@pytest.mark.slow
def test_turned_data_with_turned_covariances_give_the_same(absolute_sigma):
    x = np.array([1.0, 2, 3, 4])
    y = numpy_decay(x, 2.5, 1.0) + 0.1 * np.array([1.0, -0.5, 0.3, -0.2])
    covariance = np.array(
        [[0.04, 0.01, 0, 0], [0.01, 0.09, 0.02, 0], [0, 0.02, 0.05, 0], [0, 0, 0, 0.03]]
    )
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    plain = both(decay, numpy_decay, x, y, None, covariance, absolute_sigma)
    turned = lmjax.curve_fit(
        lambda x, a, b: turn @ decay(x, a, b),
        x,
        turn @ y,
        None,
        turn @ covariance @ turn.T,
        absolute_sigma,
    )
    for one, other in zip(plain, turned, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)


def test_lists_and_narrow_numbers_are_fitted_in_double_precision():
    expected = lmjax.curve_fit(line, LINE_X, LINE_Y)
    for x, y in (
        (list(LINE_X), list(LINE_Y)),
        (LINE_X.astype("float32"), LINE_Y),
        (LINE_X, LINE_Y.astype("float32")),
        (LINE_X.astype("int32"), LINE_Y.astype("int64")),
    ):
        for p0 in (None, [1, 1], (1.0, 1), np.ones(2, "float32")):
            found = lmjax.curve_fit(line, x, y, p0)
            assert found[0].dtype == found[1].dtype == np.float64
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-10)


def test_a_number_as_start():
    np.testing.assert_allclose(
        lmjax.curve_fit(lambda x, a: a * x, LINE_X, LINE_Y, 2)[0],
        [(LINE_X @ LINE_Y) / (LINE_X @ LINE_X)],
        rtol=1e-12,
    )


@pytest.mark.slow
def test_covariances_without_an_answer_are_infinite_with_a_warning():
    for f in (lambda x, a, b: (a + b) * x, lambda x, a, b: a * x + 0 * b):
        with pytest.warns(UserWarning, match="do not determine"):
            _, covariance = lmjax.curve_fit(f, LINE_X, LINE_Y)
        assert np.isinf(covariance).all()


def test_a_curve_through_all_measurements_has_a_covariance_of_zero():
    popt, covariance = lmjax.curve_fit(line, LINE_X, 2 * LINE_X + 1)
    np.testing.assert_allclose(popt, [2, 1], rtol=1e-12)
    np.testing.assert_allclose(covariance, 0, atol=1e-20)


@pytest.mark.parametrize(
    "place",
    ["both", *(pytest.param(place, marks=pytest.mark.slow) for place in ("x", "y", "column"))],
)
def test_missing_values(place):
    x, y = np.stack([LINE_X, LINE_X**2]), LINE_Y.copy()

    def f(x, a, b):
        return a * x[0] + b * x[1]

    if place in ("y", "both"):
        y[2] = np.nan
    if place in ("x", "both"):
        x[:, 4] = np.nan
    if place == "column":
        x[1, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        lmjax.curve_fit(f, x, y)
    with pytest.raises(ValueError, match="NaN"):
        lmjax.curve_fit(f, x, y, nan_policy="raise")
    kept = ~(np.isnan(y) | np.isnan(x).any(0))
    found, expected = (
        lmjax.curve_fit(f, x, y, nan_policy="omit"),
        lmjax.curve_fit(f, x[:, kept], y[kept]),
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "x", "y", "options"),
    [
        (line, [], [], {}),
        (line, LINE_X, [], {}),
        (lambda x: x, LINE_X, LINE_Y, {}),
        (line, LINE_X, LINE_Y, {"method": "newton"}),
        (line, LINE_X, LINE_Y, {"bounds": ([0, 0, 0], 1)}),
        (line, LINE_X, LINE_Y, {"bounds": (2, [1, 3])}),
        (line, LINE_X, LINE_Y, {"sigma": [1, 2]}),
        (line, LINE_X, LINE_Y, {"nan_policy": "hi"}),
    ],
)
def test_wrong_arguments_are_value_errors(f, x, y, options):
    with pytest.raises(ValueError, match=r"\w+: "):
        lmjax.curve_fit(f, x, y, **options)


def test_no_data_beside_the_measurements():
    fixed = np.array([1.0, 2.0, 3.0])
    popt, _ = lmjax.curve_fit(lambda _, a: a * fixed, None, 2 * fixed)
    np.testing.assert_allclose(popt, [2.0], rtol=1e-12)


@pytest.mark.parametrize(
    "bounds",
    [
        ([1.0, 0], [2.0, 3.0]),
        ([0.0, 0.0], 9.0),
        (0, 3),
        ([-np.inf, 0.0], np.inf),
        scipy.optimize.Bounds([1.0, 0], [2.0, 3.0]),
    ],
    ids=str,
)
def test_bounds(bounds):
    x = np.linspace(0, 1, 30)
    y = 1.5 * np.exp(-0.7 * x) + 0.05 * np.cos(9 * x)
    both(decay, numpy_decay, x, y, bounds=bounds, rtol=1e-5)


@pytest.mark.slow
def test_a_limit_on_evaluations_is_taken_with_and_without_bounds():
    for name in ("maxfev", "max_nfev"):
        for bounds in ((-np.inf, np.inf), (0, np.inf)):
            np.testing.assert_allclose(
                lmjax.curve_fit(line, LINE_X, LINE_Y, bounds=bounds, **{name: 100})[0],
                scipy.optimize.curve_fit(
                    line, LINE_X, LINE_Y, bounds=bounds, max_nfev=100, method="trf", **TIGHT
                )[0],
                atol=1e-6,
            )


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [None, 0.5, "vector", "matrix"])
def test_jacobians_of_the_callers_own(sigma):
    x = np.linspace(0, 2, 8)
    y = 2.0 * np.exp(-1.1 * x) + 0.02 * np.cos(7 * x)
    spread = np.linspace(0.5, 1.0, 8)
    sigma = {"vector": spread, "matrix": np.diag(spread**2) + 0.01}.get(sigma, sigma)

    def jac(x, a, b):
        return jnp.stack([jnp.exp(-b * x), -a * x * jnp.exp(-b * x)], axis=1)

    for scheme in (jac, "2-point", "3-point", "cs", None):
        found = lmjax.curve_fit(decay, x, y, sigma=sigma, jac=scheme)
        # With jac SciPy takes no number.
        whole = np.full(8, sigma) if np.ndim(sigma) == 0 and sigma is not None else sigma
        expected = scipy.optimize.curve_fit(
            numpy_decay, x, y, sigma=whole, jac=lambda *args: np.asarray(jac(*args)), **TIGHT
        )
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


def test_residuals_with_measurements_of_zero():
    found, expected = (
        lmjax.curve_fit(lambda x, a, b: line(x, a, b) - LINE_Y, LINE_X, 0),
        lmjax.curve_fit(line, LINE_X, LINE_Y),
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


class TestExceptions:
    def test_a_parameter_on_a_bound_counts_as_known(self):
        # Free, the second is 0.1.
        popt, covariance = lmjax.curve_fit(line, LINE_X, LINE_Y, bounds=([0, 0.5], np.inf))
        np.testing.assert_allclose(
            popt, [LINE_X @ (LINE_Y - 0.5) / (LINE_X @ LINE_X), 0.5], rtol=1e-9
        )
        assert covariance[0, 0] > 0
        assert not covariance[1].any()

    def test_a_start_outside_the_bounds_is_moved(self):
        with pytest.warns(UserWarning, match=r"params\[0\]: .* moved"):
            popt, _ = lmjax.curve_fit(
                line, LINE_X, LINE_Y, [9.0, 0.0], bounds=([0, -np.inf], [5, np.inf])
            )
        np.testing.assert_allclose(popt, np.polyfit(LINE_X, LINE_Y, 1), rtol=1e-9)

    def test_fewer_measurements_than_parameters(self):
        with pytest.warns(UserWarning, match="do not determine"):
            popt, covariance = lmjax.curve_fit(line, [2.0], [3.0])
        assert line(2.0, *popt) == pytest.approx(3.0)
        assert np.isinf(covariance).all()

    def test_unchecked_data_with_nan(self):
        with pytest.raises(RuntimeError, match="no minimum was found"):
            lmjax.curve_fit(line, LINE_X, np.where(LINE_X > 3, np.nan, LINE_Y), check_finite=False)

    def test_options_of_scipys_alone(self):
        for option in ({"args": (1,)}, {"epsfcn": 1e-8}, {"x_scale": "jac"}):
            with pytest.raises(TypeError, match="curve_fit knows no such option"):
                lmjax.curve_fit(line, LINE_X, LINE_Y, **option)

    def test_that_nothing_else_is_warned_of(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lmjax.curve_fit(line, LINE_X, LINE_Y)
