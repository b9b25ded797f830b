"""Intervals from profiles, beside the t intervals of linear models, lmfit, published ones and
SciPy's fits at their ends.
"""

import warnings

import jax
import jax.flatten_util
import jax.numpy as jnp
import lmfit
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import lmjax

GENERATOR = np.random.default_rng(3)
X = np.linspace(0, 3, 20)
Y = 2 * np.exp(-1.3 * X) + 0.1 * GENERATOR.normal(size=20)
MATRIX = np.stack([np.ones(25), np.linspace(-1, 2, 25), GENERATOR.normal(size=25)], axis=1)
TARGET = MATRIX @ [1.0, -2.0, 0.5] + 0.3 * GENERATOR.normal(size=25)


def linear(params, matrix, target):
    return matrix @ params - target


def decay(params, x, y):
    return params["a"] * jnp.exp(-params["b"] * x) - y


def saturation(params, x, y):
    return params[0] * x / (params[1] + x) - y


def two_decays(params, x, y):
    return params[0] * jnp.exp(-x / params[2]) + params[1] * jnp.exp(-x / params[3]) - y


def rises(solution, interval, residuals, which=None, **options):
    """How far SciPy's least cost over the other parameters lies above the solution's, in units of
    s²/2, at each end, or at those of ``which`` (parameter, side).
    """
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(solution.params)])
    unflatten = jax.flatten_util.ravel_pytree(solution.params)[1]
    deviation2 = 2 * float(solution.cost) / solution.degrees_of_freedom()

    def profile(index, value):
        def at(others):
            with jax.enable_x64(True):
                return np.asarray(residuals(unflatten(np.insert(others, index, value))))

        fit = scipy.optimize.least_squares(
            at, np.delete(flat, index), x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14, **options
        )
        return fit.cost

    ends = [np.concatenate([np.ravel(e) for e in jax.tree.leaves(end)]) for end in interval]
    which = which or [(k, side) for k in range(flat.size) for side in (0, 1)]
    costs = [profile(k, ends[side][k]) for k, side in which]
    return 2 * (np.array(costs) - float(solution.cost)) / deviation2


@pytest.fixture(scope="module")
def line():
    return lmjax.least_squares(linear, np.zeros(3), (MATRIX, TARGET))


@pytest.fixture(scope="module")
def decayed():
    return lmjax.least_squares(decay, {"a": 1.0, "b": 1.0}, (X, Y))


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("absolute_sigma", [False, True])
def test_of_a_linear_model_they_are_the_t_intervals(line, level, absolute_sigma):
    got = line.profile_intervals(level, absolute_sigma)
    expected = line.confidence_intervals(level, absolute_sigma)
    np.testing.assert_allclose(np.array(got), np.array(expected), rtol=1e-10)


def test_a_second_call_compiles_nothing(line, caplog):
    line.profile_intervals()
    other = lmjax.least_squares(linear, np.ones(3), (MATRIX, 2 * TARGET))
    with jax.log_compiles(), caplog.at_level("WARNING"):
        other.profile_intervals(0.99)
    assert "Compiling" not in caplog.text


@pytest.mark.parametrize("level", [0.68, 0.95, 0.997])
def test_they_agree_with_lmfit(decayed, level):
    params = lmfit.Parameters()
    params.add_many(("a", 1.0), ("b", 1.0))
    minimizer = lmfit.Minimizer(lambda p: p["a"] * np.exp(-p["b"] * X) - Y, params)
    expected = lmfit.conf_interval(minimizer, minimizer.minimize(), sigmas=[level])
    lower, upper = decayed.profile_intervals(level)
    for name, ((_, low), _, (_, high)) in expected.items():
        np.testing.assert_allclose([lower[name], upper[name]], [low, high], rtol=2e-6)
    assert upper["b"] - decayed.params["b"] > 1.05 * (decayed.params["b"] - lower["b"])


def test_the_cost_at_the_ends_is_what_the_level_says(decayed):
    interval = decayed.profile_intervals(0.9)
    expected = scipy.stats.f.ppf(0.9, 1, 18)
    np.testing.assert_allclose(
        rises(decayed, interval, lambda p: decay(p, X, Y)), expected, rtol=1e-7
    )


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-6)])
def test_puromycin_as_published(dtype, rtol):
    """Of the treated cells in D. M. Bates, D. G. Watts, 1988; ends as ``confint`` of R gives
    them, and as SciPy's costs confirm.
    """
    x = np.repeat([0.02, 0.06, 0.11, 0.22, 0.56, 1.1], 2)
    y = np.array([76, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200.0])
    start = np.array([200, 0.05], dtype)
    solution = lmjax.least_squares(saturation, start, (x, y))
    lower, upper = solution.profile_intervals()
    assert lower.dtype == upper.dtype == dtype
    np.testing.assert_allclose(lower, [197.3019, 0.046920], rtol=1e-4)
    np.testing.assert_allclose(upper, [229.2901, 0.086157], rtol=1e-4)
    precise = lmjax.least_squares(saturation, start.astype(float), (x, y))
    got = rises(precise, (lower, upper), lambda p: saturation(p, x, y))
    np.testing.assert_allclose(got, scipy.stats.f.ppf(0.95, 1, 10), rtol=10 * rtol)


@pytest.mark.filterwarnings("ignore:profile_intervals")  # where amplitudes are endless
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3])
def test_two_decays_where_lmfit_finds_no_bracket(seed):
    """The script of lmfit's issue 64: with some data no rate is too near to the other for a pair of
    large amplitudes of opposite signs, and these have no end.
    """
    x = np.linspace(0.3, 10, 100)
    noise = 0.2 * np.random.default_rng(seed).normal(size=100)
    y = 3 * np.exp(-x / 2) - 5 * np.exp(-x / 10) + noise
    solution = lmjax.least_squares(two_decays, np.array([5.0, -5.0, 2.0, 5.0]), (x, y))
    lower, upper = solution.profile_intervals()
    endless = seed == 3
    assert np.isinf(upper[0]) == np.isinf(lower[1]) == endless
    level = scipy.stats.f.ppf(0.95, 1, 96)
    regular = [(0, 0), (1, 1), (2, 0), (3, 1)] + [(0, 1), (1, 0), (2, 1), (3, 0)] * (not endless)
    # Along the valley where the rates meet SciPy's fits stop before ours do.
    got = rises(solution, (lower, upper), lambda p: two_decays(p, x, y), regular)
    assert got == pytest.approx(level, rel=1e-4)


@pytest.mark.slow
def test_bounds_end_an_interval(decayed):
    free = decayed.profile_intervals()
    bounds = ({"a": None, "b": 1.25}, {"a": 2.0, "b": None})
    solution = lmjax.least_squares(decay, {"a": 1.0, "b": 1.3}, (X, Y), bounds=bounds)
    lower, upper = solution.profile_intervals()
    # The height rests on its bound, and may leave it to one side.
    assert solution.params["a"] == upper["a"] == 2.0
    assert lower["b"] == 1.25
    assert lower["a"] < 2.0
    # With the height held below 2 the rate has less room.
    assert solution.params["b"] < upper["b"] < free.upper["b"]


@pytest.mark.slow
def test_fixed_parameters_have_no_width():
    solution = lmjax.least_squares(
        decay, {"a": 2.0, "b": 1.0}, (X, Y), fixed={"a": True, "b": False}
    )
    lower, upper = solution.profile_intervals()
    assert lower["a"] == upper["a"] == 2.0
    reference = lmjax.least_squares(lambda p, x, y: 2 * jnp.exp(-p * x) - y, 1.0, (X, Y))
    np.testing.assert_allclose(
        [lower["b"], upper["b"]], list(reference.profile_intervals()), rtol=1e-8
    )


def test_what_the_data_do_not_determine_is_endless_and_the_rest_is_not():
    def residuals(params, x, y):
        return params["a"] * params["b"] * x + params["c"] - y + 0 * params["none"][0, 0]

    y = 2 * X + 0.1 * GENERATOR.normal(size=20)
    start = {"a": 1.0, "b": 1.0, "c": 0.0, "none": np.full((1, 1), 3.0)}
    solution = lmjax.least_squares(residuals, start, (X, y))
    lower, upper = solution.profile_intervals()
    assert jax.tree.map(np.shape, upper) == {"a": (), "b": (), "c": (), "none": (1, 1)}
    for name in ("a", "b", "none"):
        assert np.isneginf(lower[name])
        assert np.isposinf(upper[name])
    # Those with a lower rank count as parameters all the same.
    straight = lmjax.least_squares(linear, np.zeros(2), (np.stack([X, X**0], axis=1), y))
    quantiles = scipy.stats.t.ppf(0.975, [16, 18])
    width = straight.standard_errors()[1] * np.sqrt(18 / 16) * quantiles[0]
    assert [lower["c"], upper["c"]] == pytest.approx(
        straight.params[1] + width * np.array([-1, 1]), rel=1e-6
    )


def test_one_side_may_have_no_end():
    """A decay that is over before the second point: any faster one is as good."""
    y = np.where(X == 0, 2.0, 0.0) + 0.05 * np.random.default_rng(5).normal(size=20)
    solution = lmjax.least_squares(decay, {"a": 1.0, "b": 5.0}, (X, y))
    lower, upper = solution.profile_intervals()
    assert upper["b"] == np.inf
    assert 0 < lower["b"] < solution.params["b"]
    assert upper["a"] < 3


@pytest.mark.slow
def test_few_residuals_say_nothing_of_the_noise():
    solution = lmjax.least_squares(linear, np.zeros(3), (MATRIX[:3], TARGET[:3]))
    lower, upper = solution.profile_intervals()
    assert np.isneginf(lower).all()
    assert np.isposinf(upper).all()
    np.testing.assert_allclose(
        np.array(solution.profile_intervals(absolute_sigma=True)),
        np.array(solution.confidence_intervals(absolute_sigma=True)),
        rtol=1e-9,
    )


def test_a_perfect_fit_leaves_no_width():
    solution = lmjax.least_squares(linear, np.zeros(3), (MATRIX, np.zeros(25)))
    np.testing.assert_array_equal(np.array(solution.profile_intervals()), np.zeros((2, 3)))


@pytest.mark.filterwarnings("ignore:profile_intervals")  # the slope has no end there, too
def test_where_the_residuals_are_no_numbers_an_interval_ends():
    def residuals(p, y):
        return p[0] - y + 1e-3 * jnp.sqrt(1 - p[1])

    y = 0.1 * GENERATOR.normal(size=20)
    solution = lmjax.least_squares(residuals, np.array([0.0, 0.5]), (y,))
    upper = solution.profile_intervals().upper
    assert 0.99999 < upper[1] <= 1


@pytest.mark.slow
def test_units_of_the_parameters_change_nothing(decayed):
    expected = decayed.profile_intervals()
    units = {"a": 1e9, "b": 1e-12}

    def residuals(params, x, y):
        return decay(jax.tree.map(lambda p, u: p * u, params, units), x, y)

    solution = lmjax.least_squares(residuals, {"a": 1e-9, "b": 1e12}, (X, Y))
    for got, end in zip(solution.profile_intervals(), expected, strict=True):
        for name in ("a", "b"):
            assert got[name] * units[name] == pytest.approx(end[name], rel=1e-7)


@pytest.mark.slow
def test_robust_losses_and_weights_count():
    weights = np.linspace(0.2, 3, 20)
    weights[4] = 0
    y = np.array(Y)
    y[[7, 12]] += 1.5
    solution = lmjax.least_squares(
        decay, {"a": 1.0, "b": 1.0}, (X, y), weights=weights, loss=lmjax.Huber(0.15)
    )
    interval = solution.profile_intervals(0.9)
    got = rises(
        solution,
        interval,
        lambda p: decay(p, X, y) * np.sqrt(weights),
        loss="huber",
        f_scale=0.15,
    )
    np.testing.assert_allclose(got, scipy.stats.f.ppf(0.9, 1, 17), rtol=1e-6)


def test_a_lower_cost_is_told_with_its_parameters():
    solver = lmjax.LevenbergMarquardt(max_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmjax.ConvergenceWarning)
        solution = lmjax.least_squares(decay, {"a": 1.0, "b": 5.0}, (X, Y), solver=solver)
    with pytest.warns(
        lmjax.ConvergenceWarning, match=r"params\['a'\] = .*params\['b'\] = .* it is"
    ):
        lower, upper = solution.profile_intervals()
    assert lower["a"] < solution.params["a"] < upper["a"]


@pytest.mark.filterwarnings("ignore:least_squares")
@pytest.mark.slow
def test_stuck_fits_are_told():
    """Amplitudes of 26 000 and opposite signs: rounding hides the way along their valley."""
    x = np.linspace(0.3, 10, 100)
    noise = 0.2 * np.random.default_rng(9).normal(size=100)
    y = 3 * np.exp(-x / 2) - 5 * np.exp(-x / 10) + noise
    solution = lmjax.least_squares(two_decays, np.array([5.0, -5.0, 2.0, 5.0]), (x, y))
    with pytest.warns(lmjax.ConvergenceWarning, match="upper end of params.*found no minimum"):
        solution.profile_intervals()


@pytest.mark.slow
def test_single_precision(decayed):
    expected = decayed.profile_intervals()
    solution = lmjax.least_squares(decay, {"a": np.float32(1), "b": np.float32(1)}, (X, Y))
    got = solution.profile_intervals()
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(jax.tree.leaves(got), jax.tree.leaves(expected), rtol=2e-5)
    assert not jax.config.jax_enable_x64


@pytest.mark.slow
def test_fits_that_do_not_go_together_go_one_after_the_other(line, monkeypatch):
    expected = line.profile_intervals()
    monkeypatch.setattr("lmjax._src.least_squares.intervals.held_fits._BYTES", 25 * 3 * 8 * 4)
    np.testing.assert_array_equal(np.array(line.profile_intervals()), np.array(expected))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: s.profile_intervals(95), ValueError, "level.*95"),
        (lambda s: s.profile_intervals(solver="QR"), TypeError, "solver"),
        (
            lambda s: s.profile_intervals(solver=lmjax.LevenbergMarquardt(second_run=False)),
            ValueError,
            "second_run.*profile_intervals",
        ),
        (
            lambda s: jax.jit(lambda one: one.profile_intervals())(s),
            TypeError,
            "profile_intervals: cannot be traced",
        ),
    ],
    ids=["level", "solver", "no effect", "traced"],
)
def test_wrong_input_is_named(line, call, error, words):
    with pytest.raises(error, match=words):
        call(line)


def test_a_solution_without_a_cost_is_named():
    with pytest.warns(lmjax.ConvergenceWarning, match="no minimum"):
        solution = lmjax.least_squares(linear, np.full(3, np.nan), (MATRIX, TARGET))
    with pytest.raises(ValueError, match="profile_intervals: the cost of the solution is"):
        solution.profile_intervals()


@pytest.mark.slow
def test_of_a_batch_each_solution_has_its_own(line):
    batch = jax.vmap(lambda t: lmjax.least_squares(linear, np.zeros(3, np.float32), (MATRIX, t)))(
        np.stack([TARGET, TARGET[::-1]]).astype(np.float32)
    )
    with pytest.raises(ValueError, match=r"profile_intervals: this is a batch.*leaf\[k\]"):
        batch.profile_intervals()
    one = jax.tree.map(lambda leaf: leaf[0], batch)
    np.testing.assert_allclose(
        np.array(one.profile_intervals()), np.array(line.profile_intervals()), rtol=2e-4
    )


@pytest.mark.slow
def test_they_cover_the_truth_as_often_as_they_say():
    """A rate that eight points hardly determine: its profile is far from a parabola."""
    x = np.linspace(0.2, 4, 8)
    noise = 0.25 * np.random.default_rng(0).normal(size=(400, 8))
    truth = {"a": np.array(2.0), "b": np.array(0.9)}
    covered, by_errors = [], []
    for row in noise:
        solution = lmjax.least_squares(decay, truth, (x, 2 * np.exp(-0.9 * x) + row))
        for kept, (lower, upper) in (
            (covered, solution.profile_intervals(0.9)),
            (by_errors, solution.confidence_intervals(0.9)),
        ):
            kept.append([lower[name] <= truth[name] <= upper[name] for name in ("a", "b")])
    # Three standard deviations of a share of 400.
    np.testing.assert_allclose(np.mean(covered, axis=0), 0.9, atol=0.045)
    # Those by standard errors miss the rate more often than that.
    assert np.mean(by_errors, axis=0)[1] < 0.9
