"""Joint regions of two parameters, beside ellipses and lmfit's grid."""

import jax
import jax.numpy as jnp
import lmfit
import numpy as np
import pytest
import scipy.stats

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.least_squares.intervals.contour import index_of

GENERATOR = np.random.default_rng(3)
X = np.linspace(0, 3, 20)
Y = 2 * np.exp(-1.3 * X) + 0.1 * GENERATOR.normal(size=20)
MATRIX = np.stack([np.ones(25), np.linspace(-1, 2, 25), GENERATOR.normal(size=25)], axis=1)
TARGET = MATRIX @ [1.0, -2.0, 0.5] + 0.3 * GENERATOR.normal(size=25)


def linear(params, matrix, target):
    return matrix @ params - target


def decay(params, x, y):
    return params["a"] * jnp.exp(-params["b"] * x) + params["c"][0] - y


@pytest.fixture(scope="module")
def line():
    return lmjax.least_squares(linear, np.zeros(3), (MATRIX, TARGET))


@pytest.fixture(scope="module")
def decayed():
    return lmjax.least_squares(decay, {"a": 1.0, "b": 1.0, "c": np.zeros(1)}, (X, Y))


@pytest.mark.parametrize("absolute_sigma", [False, True])
def test_of_a_linear_model_it_is_an_ellipse(line, absolute_sigma):
    region = line.contour(0, 2, num=9, absolute_sigma=absolute_sigma)
    inverse = np.linalg.inv(line.covariance(absolute_sigma)[np.ix_([0, 2], [0, 2])])
    off = np.stack(np.meshgrid(region.first, region.second), axis=-1) - line.params[[0, 2]]
    squares = np.einsum("...i,ij,...j", off, inverse, off)
    expected = (
        scipy.stats.chi2.cdf(squares, 2)
        if absolute_sigma
        else scipy.stats.f.cdf(squares / 2, 2, 22)
    )
    np.testing.assert_allclose(region.confidence, expected, atol=1e-10)
    # The grid goes from end to end of the region, and by a twentieth beyond.
    quantile = (
        scipy.stats.chi2.ppf(0.95, 2) if absolute_sigma else 2 * scipy.stats.f.ppf(0.95, 2, 22)
    )
    widths = 1.1 * np.sqrt(quantile) * line.standard_errors(absolute_sigma)[[0, 2]]
    for axis, centre, width in zip(
        (region.first, region.second), line.params[[0, 2]], widths, strict=True
    ):
        np.testing.assert_allclose(axis[[0, -1]], centre + width * np.array([-1, 1]), rtol=1e-8)
    assert region.names == ("params[0]", "params[2]")


@pytest.mark.slow
def test_it_agrees_with_lmfit(decayed):
    region = decayed.contour("b", "['c'][0]", num=7)
    params = lmfit.Parameters()
    params.add_many(("a", 1.0), ("b", 1.0), ("c", 0.0))
    minimizer = lmfit.Minimizer(lambda p: p["a"] * np.exp(-p["b"] * X) + p["c"] - Y, params)
    # Its levels are of an F test with other degrees of freedom: only the costs are compared.
    costs = np.empty((7, 7))
    for i, second in enumerate(region.second):
        for j, first in enumerate(region.first):
            held = lmfit.Parameters()
            held.add("a", 2.0)
            held.add("b", first, vary=False)
            held.add("c", second, vary=False)
            costs[i, j] = minimizer.minimize(params=held).chisqr / 2
    rise = costs - float(decayed.cost)
    deviation2 = 2 * float(decayed.cost) / 17
    expected = scipy.stats.f.cdf(rise / deviation2, 2, 17)
    np.testing.assert_allclose(region.confidence, expected, atol=1e-7)


@pytest.mark.slow
def test_its_extent_is_that_of_the_profile(decayed):
    """The region's shadow on an axis is the profile's interval of a higher level."""
    region = decayed.contour("a", "b", level=0.9, num=41)
    inside = region.confidence <= 0.9
    fisher = scipy.stats.f.ppf(0.9, 2, 17)
    lower, upper = decayed.profile_intervals(scipy.stats.f.cdf(2 * fisher, 1, 17))
    for axis, name, along in ((region.first, "a", 0), (region.second, "b", 1)):
        values = axis[inside.any(axis=along)]
        step = axis[1] - axis[0]
        assert lower[name] <= values[0] <= lower[name] + step
        assert upper[name] - step <= values[-1] <= upper[name]


@pytest.mark.slow
def test_bounds_and_sides_without_end():
    y = np.where(X == 0, 2.0, 0.0) + 0.05 * np.random.default_rng(5).normal(size=20)
    start = {"a": 1.0, "b": 5.0, "c": np.zeros(1)}
    bounds = ({"a": None, "b": 0.0, "c": -0.01}, {"a": 2.0, "b": None, "c": 0.01})
    solution = lmjax.least_squares(decay, start, (X, y), bounds=bounds)
    region = solution.contour("b", "a", num=11)
    assert region.second[-1] == 2.0
    assert region.first[0] >= 0  # what lies beyond the region is cut off at the bound
    assert np.all(np.isfinite(region.first))
    # However fast the decay is.
    assert np.all(region.confidence.min(axis=0)[-5:] < 0.95)


@pytest.mark.slow
def test_single_precision():
    start = {"a": np.float32(1), "b": np.float32(1), "c": np.zeros(1, np.float32)}
    single = lmjax.least_squares(decay, start, (X, Y))
    region = single.contour("a", "b", num=5)
    assert region.first.dtype == region.second.dtype == np.float32
    assert np.all((region.confidence >= 0) & (region.confidence <= 1))
    assert not jax.config.jax_enable_x64


def test_names_of_parameters():
    structure = Structure.of({"a": 1.0, "b": {"c": np.zeros((2, 2))}})
    for given in (3, -2, "params['b']['c'][1, 0]", "['b']['c'][1, 0]"):
        assert index_of(structure, given, "first") == 3
    assert index_of(structure, "a", "first") == 0
    for given in ("b", 5, -6, True, None, 1.5):
        with pytest.raises(ValueError, match=r"second: .*params\['a'\].*got"):
            index_of(structure, given, "second")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.contour(0, 3), "second: .*3"),
        (lambda s: s.contour(1, -2), "two parameters, got 1 twice"),
        (lambda s: s.contour(0, 1, num=1), "num: .*1"),
        (lambda s: s.contour(0, 1, level=95), "level.*95"),
    ],
    ids=["index", "twice", "num", "level"],
)
def test_wrong_input_is_named(line, call, words):
    with pytest.raises(ValueError, match=words):
        call(line)
