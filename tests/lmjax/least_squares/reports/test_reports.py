"""``print(solution)``, ``summary()`` and what a notebook shows."""

import json
import math
from collections import namedtuple
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.least_squares.reports.names import first_names

X = np.linspace(0, 2, 30)
Y = 2 * np.exp(-3 * X) + 0.05 * np.cos(40 * X)
START = {"height": 1.0, "rate": 1.0, "shift": 0.0}
#: Options with small programs, which compile fast.
PLAIN = lmjax.LevenbergMarquardt(geodesic_acceleration=False, polish=False, second_run=False)


def decay(p, x, y):
    return p["height"] * jnp.exp(-p["rate"] * x) + p["shift"] - y


def named(report):
    return {each["name"]: each for each in report["parameters"]}


def test_the_report_of_a_fit():
    solution = lmjax.least_squares(decay, START, (X, Y))
    report, text = solution.summary(), str(solution)
    assert solution.success is report["success"] is True
    assert solution.message == solution.status.message == report["message"]
    assert solution.nfev == solution.num_evaluations == report["num_evaluations"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report  # plain Python alone
    rates = next(line for line in text.splitlines() if line.startswith("  rate"))
    value, error = float(solution.params["rate"]), float(solution.standard_errors()["rate"])
    assert f"{value:.8g}" in rates
    assert f"± {error:.4g}" in rates
    assert f"({100 * error / value:.3g} %)" in rates
    assert rates.endswith(" 1")
    for each in ("χ²", "AIC", "BIC", "27 degrees of freedom", "height, rate: "):
        assert each in text
    assert "R²" not in text
    assert "± " not in repr(solution)
    assert str(solution.status).startswith(report["status"])


def test_fixed_parameters_and_those_on_a_bound():
    solution = lmjax.least_squares(
        decay,
        START,
        (X, Y),
        bounds=({"height": -9.0, "rate": 0.0, "shift": -1.0}, {**START, "height": 1.0}),
        fixed={"height": False, "rate": False, "shift": True},
    )
    states = {name: each["state"] for name, each in named(solution.summary()).items()}
    assert states == {
        "height": "at its upper bound",
        "rate": "at its upper bound",
        "shift": "fixed",
    }
    assert solution.summary()["num_varying"] == 0
    assert solution.summary()["degrees_of_freedom"] == 30
    assert "at its upper bound" in str(solution)
    np.testing.assert_array_equal(solution.correlation(), np.eye(3))


def test_what_is_not_determined_is_named():
    def product(p, x, y):
        return p["a"] * p["b"] * jnp.exp(-p["rate"] * x) + 0 * p["idle"] - y

    start = {"a": 1.0, "b": 4.0, "idle": 3.0, "rate": 1.0}
    solution = lmjax.least_squares(product, start, (X, Y), solver=PLAIN)
    report = solution.summary()
    idle, together = report["undetermined"]
    assert idle == {"has_influence": False, "moves": [["idle", 1.0]]}
    assert together["has_influence"]
    (a, one), (b, amount) = together["moves"]
    assert (a, b, one) == ("a", "b", 1.0)
    params = solution.params
    np.testing.assert_allclose(amount, -params["b"] / params["a"], rtol=1e-6)
    loose = {name for name, each in named(report).items() if each["is_undetermined"]}
    assert loose == {"a", "b", "idle"}
    assert math.isinf(named(report)["rate"]["standard_error"])
    assert math.isinf(report["condition"])
    assert report["correlations"] == []
    assert "idle: has no influence on any residual here" in str(solution)
    assert "a, b: no residual changes along (+1 a, " in str(solution)


@pytest.mark.slow
def test_units_do_not_hide_what_is_not_determined():
    def sums(p, x, y):
        return (1e9 * p[0] + 1e-9 * p[1]) * x + p[2] - y

    solution = lmjax.least_squares(sums, np.array([1e-9, 1e9, 0.0]), (X, Y), solver=PLAIN)
    (direction,) = solution.summary()["undetermined"]
    (one, first), (other, second) = direction["moves"]
    assert (one, other) == ("params[0]", "params[1]")
    np.testing.assert_allclose(second / first, -1e18, rtol=1e-6)


@pytest.mark.slow
def test_more_parameters_than_residuals():
    solution = lmjax.least_squares(
        lambda p: p[0] + p[1] * np.arange(2.0) - 1, np.zeros(2), solver=PLAIN
    )
    assert "no more residuals than parameters" in str(solution)
    assert solution.summary()["reduced_chi_square"] is None
    np.testing.assert_allclose(solution.correlation()[0, 1], -1 / np.sqrt(2))
    free = lmjax.least_squares(lambda p: jnp.sum(p)[None] - 1, np.zeros(3), solver=PLAIN)
    assert len(free.summary()["undetermined"]) == 2


@pytest.mark.slow
def test_known_standard_deviations_and_robust_losses():
    solution = lmjax.least_squares(decay, START, (X, Y), sigma=0.1, solver=PLAIN)
    report = solution.summary(absolute_sigma=True)
    errors = solution.standard_errors(absolute_sigma=True)
    assert named(report)["rate"]["standard_error"] == float(errors["rate"])
    assert any("absolute_sigma" in note for note in report["notes"])
    robust = lmjax.least_squares(decay, START, (X, Y), loss="huber", solver=PLAIN)
    report = robust.summary()
    assert report["loss"] == "Huber"
    assert report["aic"] is report["bic"] is None
    assert "Huber" in str(robust)


@pytest.mark.slow
def test_residuals_of_weight_zero_do_not_count():
    weights = np.where(np.arange(30) < 10, 0.0, 1.0)
    report = lmjax.least_squares(decay, START, (X, Y), weights=weights, solver=PLAIN).summary()
    assert (report["num_residuals"], report["degrees_of_freedom"]) == (20, 17)


@pytest.mark.slow
def test_curve_fits_know_their_data_and_names():
    def curve(x, height, *rest):
        return height * jnp.exp(-rest[0] * x) + rest[1]

    sigma = np.linspace(0.1, 0.3, 30)
    *_, information, _, _ = lmjax.curve_fit(
        curve, X, Y, (1, 1, 0), sigma=sigma, absolute_sigma=True, full_output=True, solver=PLAIN
    )
    solution = information["solution"]
    report = solution.summary()
    assert list(named(report)) == ["height", "rest[0]", "rest[1]"]
    assert report["absolute_sigma"]
    weights = sigma**-2
    mean = np.sum(weights * Y) / np.sum(weights)
    np.testing.assert_allclose(
        report["r_squared"], 1 - 2 * solution.cost / np.sum(weights * (Y - mean) ** 2)
    )
    assert solution.residuals().shape == (30,)
    assert "R² " in str(solution)
    as_matrix = lmjax.curve_fit(curve, X, Y, (1, 1, 0), sigma=np.diag(sigma**2), full_output=True)[
        2
    ]["solution"].summary()
    np.testing.assert_allclose(as_matrix["r_squared"], report["r_squared"])


@pytest.mark.slow
def test_inside_of_jit_and_vmap():
    said = []

    def solve(height):
        solution = lmjax.least_squares(
            lambda p, x: p["height"] * x - 1,
            {"height": height},
            (jnp.arange(1.0, 4.0),),
            solver=PLAIN,
        )
        said.append(str(solution))
        said.append(solution._repr_html_())
        with pytest.raises(TypeError, match="summary: expected a solution whose values are known"):
            solution.summary()
        return solution, solution.success

    one, success = jax.jit(solve)(1.0)
    assert bool(success)
    assert one.summary()["parameters"][0]["start"] == 1.0
    batch = jax.vmap(solve)(jnp.array([1.0, 2.0]))[0]
    assert all("not known yet" in words for words in said)
    assert "of shape (2,), of which 2 of 2 succeeded" in str(batch)
    assert batch.success.tolist() == [True, True]
    assert batch._repr_html_().startswith("<pre>")
    with pytest.raises(ValueError, match="summary: this is a batch"):
        batch.summary()
    second = jax.tree.map(lambda leaf: leaf[1], batch)
    assert named(second.summary())["height"]["start"] == 2.0


@pytest.mark.slow
def test_many_parameters_make_a_short_report():
    count = 20_000
    target = np.arange(count, dtype=float)
    solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.ConjugateGradients())
    solution = lmjax.least_squares(lambda p: p - target, target, solver=solver)
    text = str(solution)
    assert text.count("\n") < 60
    assert f"… and {count - 40} more parameters" in text
    assert "Standard errors and correlations are left out" in text
    assert len(solution.summary()["parameters"]) == 1000
    assert solution.summary()["parameters_left_out"] == count - 1000
    assert len(solution._repr_html_()) < 20_000


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        assert not attrs
        self.tags.append(tag)


def test_notebooks_get_one_escaped_table():
    name = "<script>alert(1)</script>"
    solution = lmjax.least_squares(lambda p: (p[name] - 2) * np.ones(3), {name: 1.0}, solver=PLAIN)
    page = _Page()
    page.feed(solution._repr_html_())
    assert set(page.tags) <= {
        *("div", "p", "b", "br", "table", "thead", "tbody", "tr", "th", "td", "ul", "li")
    }
    assert page.tags.count("table") == 1
    assert "&lt;script&gt;" in solution._repr_html_()


def test_names_are_those_of_the_tree():
    pair = namedtuple("pair", "left right")
    tree = {
        "net": {"kernel": np.zeros((1, 2)), "bias": [np.zeros(()), np.zeros(1)]},
        "ends": pair(0.0, 1.0),
    }
    assert first_names(Structure.of(tree), 99) == [
        *("ends.left", "ends.right", "net.bias[0]", "net.bias[1][0]"),
        *("net.kernel[0, 0]", "net.kernel[0, 1]"),
    ]
    assert first_names(Structure.of(1.0), 9) == ["params"]
    assert first_names(Structure.of([1.0]), 9) == ["params[0]"]
    assert first_names(Structure.of({"a b": 1.0, "c\n": 2.0}), 9) == [
        "params['a b']",
        "params['c\\n']",
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_both_precisions_and_no_recompilation(dtype):
    from lmjax._src.least_squares import statistics

    start = jax.tree.map(dtype, START)
    solutions = [
        lmjax.least_squares(decay, start, (X, Y * scale), solver=PLAIN) for scale in (1, 2)
    ]
    assert named(solutions[0].summary())["rate"]["start"] == 1.0
    before = len(statistics.details)
    assert solutions[1].summary()["success"]
    assert len(statistics.details) == before
    mode = jax.config.jax_enable_x64
    str(solutions[0])
    assert jax.config.jax_enable_x64 == mode


@pytest.mark.slow
def test_a_failed_fit_warns_once_and_has_a_report():
    x, y = np.where(X > 1, np.nan, X), np.where(X > 1, np.nan, Y)
    with pytest.warns(lmjax.ConvergenceWarning) as caught:
        solution = lmjax.least_squares(decay, START, (x, y), solver=PLAIN)
    assert len(caught) == 1
    assert not solution.success
    assert str(solution).startswith("NON_FINITE_START: Not started")
    assert "not finite" in solution.summary()["notes"][0]
    box = jax.tree.map(lambda value: value - 1, START), START
    with pytest.warns(lmjax.ConvergenceWarning) as caught:
        lmjax.multi_start(0, decay, box, (x, y), num_starts=3, solver=PLAIN)
    assert len(caught) == 1
    with pytest.raises(RuntimeError, match="not finite at the initial parameters"):
        lmjax.curve_fit(lambda x, a: a * x, X, y, check_finite=False, solver=PLAIN)
