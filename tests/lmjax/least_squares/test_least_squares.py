"""``lmjax.least_squares`` as a user calls it."""

import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import lmjax
from lmjax import Status
from lmjax._src.runtime import precision

X = np.linspace(0.0, 3.0, 40)
Y = 2.0 * np.exp(-1.5 * X) + 0.3 + 0.01 * np.cos(9 * X)


def curve(x, a, b, c):
    return a * np.exp(-b * x) + c


def residual_fn(params, x, y):
    return params["a"] * jnp.exp(-params["b"] * x) + params["c"] - y


START = {"a": np.array(1.0), "b": np.array(1.0), "c": np.array(0.0)}


def test_agrees_with_scipy():
    solution = lmjax.least_squares(residual_fn, START, (X, Y))
    expected, covariance = scipy.optimize.curve_fit(
        curve, X, Y, [1.0, 1.0, 0.0], xtol=1e-14, ftol=1e-14, gtol=1e-14
    )
    assert solution.status.success
    np.testing.assert_allclose([solution.params[k] for k in "abc"], expected, rtol=1e-8)
    np.testing.assert_allclose(solution.covariance(), covariance, rtol=1e-5)
    np.testing.assert_allclose(
        [solution.standard_errors()[k] for k in "abc"], np.sqrt(np.diag(covariance)), rtol=1e-5
    )
    residuals = curve(X, *expected) - Y
    assert float(solution.cost) == pytest.approx(0.5 * residuals @ residuals, rel=1e-12)
    assert int(solution.num_evaluations) > int(solution.num_steps) >= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("x64", [False, True])
def test_the_dtype_of_params_is_the_precision(dtype, x64):
    with jax.enable_x64(x64):
        start = {name: value.astype(dtype) for name, value in START.items()}
        solution = lmjax.least_squares(residual_fn, start, (X, Y))
        assert solution.status.success, solution.status.message
        assert {
            np.asarray(leaf).dtype
            for leaf in jax.tree.leaves(
                (solution.params, solution.covariance(), solution.standard_errors())
            )
        } == {np.dtype(dtype)}
        assert jax.config.read("jax_enable_x64") == x64
    exact = lmjax.least_squares(residual_fn, START, (X, Y))
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(solution.params["b"], exact.params["b"], rtol=tolerance)


@pytest.mark.parametrize(
    "start",
    [1.0, 1, np.float64(1.0), np.array([1]), [1.0], (1, 2.0), {"x": [np.ones((2, 3)), 1.0]}],
)
def test_params_come_back_as_they_were_given(start):
    solution = lmjax.least_squares(
        lambda p: [jnp.ravel(leaf) - 3.0 for leaf in jax.tree.leaves(p)], start
    )
    assert jax.tree.structure(solution.params) == jax.tree.structure(start)
    for got, given_leaf in zip(
        jax.tree.leaves(solution.params), jax.tree.leaves(start), strict=True
    ):
        assert np.shape(got) == np.shape(given_leaf)
        np.testing.assert_allclose(got, 3.0, rtol=1e-12)
        assert np.asarray(got).dtype == np.float64


@pytest.mark.slow
def test_under_jit_vmap_and_grad_of_the_caller():
    with jax.enable_x64(True):
        start = jax.tree.map(jnp.asarray, START)
        alone = lmjax.least_squares(residual_fn, start, (X, Y))
        inside = jax.jit(lambda p, y: lmjax.least_squares(residual_fn, p, (X, y)))(start, Y)
        np.testing.assert_allclose(inside.params["b"], alone.params["b"], rtol=1e-12)
        assert inside.status == alone.status
        np.testing.assert_allclose(inside.covariance(), alone.covariance(), rtol=1e-8)
        many = jax.jit(jax.vmap(lambda y: lmjax.least_squares(residual_fn, start, (X, y)).params))(
            jnp.stack([Y, 2 * Y])
        )
        np.testing.assert_allclose(many["b"], alone.params["b"], rtol=1e-7)
        np.testing.assert_allclose(many["a"][1], 2 * alone.params["a"], rtol=1e-7)
        captured = jax.vmap(
            lambda y: lmjax.least_squares(lambda p: residual_fn(p, X, y), START).params
        )(jnp.stack([Y, 2 * Y]))
        np.testing.assert_allclose(captured["b"], many["b"], rtol=1e-7)


def test_a_second_call_compiles_nothing(caplog):
    lmjax.least_squares(residual_fn, START, (X, Y))
    with jax.log_compiles(), caplog.at_level("WARNING"):
        for scale in (1.0, 2.0):
            lmjax.least_squares(residual_fn, {"a": 1.1, "b": 0.9, "c": 0.1}, (X, scale * Y))
    assert "Compiling" not in caplog.text


def test_steps_by_hand():
    with jax.enable_x64(True):
        solver = lmjax.LevenbergMarquardt()
        params, state = START, solver.init(residual_fn, START)
        step = jax.jit(lambda params, state: solver.step(residual_fn, params, state, (X, Y)))
        costs = []
        while int(state.status) == Status.RUNNING:
            params, state = step(params, state)
            costs.append(float(state.cost))
        assert costs == sorted(costs, reverse=True)
        unpolished = lmjax.LevenbergMarquardt(polish=False)
        solution = lmjax.least_squares(residual_fn, START, (X, Y), solver=unpolished)
        np.testing.assert_allclose(params["b"], solution.params["b"], rtol=1e-12)
        assert int(state.num_steps) == int(solution.num_steps)


@pytest.mark.parametrize(
    "options",
    [
        {"damping": lmjax.TrustRegion()},
        {"jacobian": "reverse"},
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in (
                {"damping": lmjax.Multiplicative()},
                {"damping": lmjax.Multiplicative.delayed_gratification()},
                {"non_monotonic": 5},
                {"scaling": lmjax.IdentityScaling()},
                {"scaling": lmjax.JacobianDiagonal()},
                {"scaling": lmjax.RunningMaximum(memory=1.0)},
                {"geodesic_acceleration": False},
                {"polish": False},
                {"jacobian": "forward"},
            )
        ),
    ],
    ids=str,
)
def test_every_option_finds_the_same_answer(options):
    solution = lmjax.least_squares(
        residual_fn, START, (X, Y), solver=lmjax.LevenbergMarquardt(**options)
    )
    assert solution.status.success
    np.testing.assert_allclose(
        solution.params["b"], lmjax.least_squares(residual_fn, START, (X, Y)).params["b"], rtol=1e-6
    )


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::lmjax.ConvergenceWarning"
)  # some have no parameter with any influence
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.float32, np.float64]),
    zero_column=st.booleans(),
)
def test_linear_problems_of_any_shape(rows, columns, seed, dtype, zero_column):
    """Also with fewer rows than columns, and with a parameter without influence."""
    generator = np.random.default_rng(seed)
    matrix, target = (
        generator.normal(size=(rows, columns)).astype(dtype),
        generator.normal(size=rows).astype(dtype),
    )
    if zero_column:
        matrix[:, 0] = 0
    solution = lmjax.least_squares(_linear, np.zeros(columns, dtype), (matrix, target))
    best = np.linalg.lstsq(matrix.astype(float), target.astype(float), rcond=None)[0]
    floor = 0.5 * np.sum((matrix @ best - target) ** 2)
    assert np.isfinite(solution.params).all()
    assert float(solution.cost) <= floor + (1e-4 if dtype == np.float32 else 1e-9) * 0.5 * float(
        target @ target
    )


def _linear(params, matrix, target):
    return matrix @ params - target


class TestBounds:
    def test_agree_with_scipy(self):
        lower, upper = {"a": None, "b": 0.0, "c": 0.35}, {"a": 1.9, "b": None, "c": np.inf}
        solution = lmjax.least_squares(
            residual_fn, {"a": 1.0, "b": 1.0, "c": 0.5}, (X, Y), bounds=(lower, upper)
        )
        expected = scipy.optimize.least_squares(
            lambda p: curve(X, *p) - Y,
            [1.0, 1.0, 0.5],
            bounds=([-np.inf, 0, 0.35], [1.9, np.inf, np.inf]),
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
        )
        assert solution.status.success
        np.testing.assert_allclose([solution.params[k] for k in "abc"], expected.x, rtol=1e-6)
        # A and c rest on their bounds.
        assert np.count_nonzero(np.asarray(solution.covariance())) == 1

    def test_a_number_bounds_everything(self):
        solution = lmjax.least_squares(lambda p: p - 5.0, np.zeros(3), bounds=(-1, 2))
        np.testing.assert_array_equal(solution.params, 2.0)

    def test_a_start_outside_is_moved_and_said(self):
        with pytest.warns(UserWarning, match=r"params\[1\]: 1 start value"):
            solution = lmjax.least_squares(
                lambda p: p - 5.0, np.array([0.0, 9.0]), bounds=(None, 6.0)
            )
        np.testing.assert_allclose(solution.params, 5.0)

    @pytest.mark.parametrize(
        "bounds", [(1.0, 0.0), 3, (1, 2, 3), ({"other": 1}, None), (np.nan, None)]
    )
    def test_unfit_bounds_are_named(self, bounds):
        with pytest.raises(ValueError, match="bounds"):
            lmjax.least_squares(lambda p: p["a"] - 5.0, {"a": np.zeros(2)}, bounds=bounds)


def test_a_function_that_captures_what_is_traced_is_one_program():
    """Not one for each slice of the run."""
    with jax.enable_x64(True):
        traced = jax.make_jaxpr(
            lambda y: lmjax.least_squares(lambda p: residual_fn(p, X, y), START).params
        )(jnp.asarray(Y))
    names = [equation.params.get("name") for equation in traced.jaxpr.eqns]
    assert names.count("_slice") == 1


class TestStatus:
    def test_step_limit(self):
        with pytest.warns(lmjax.ConvergenceWarning, match="step limit.*raise max_steps"):
            solution = lmjax.least_squares(
                residual_fn, START, (X, Y), solver=lmjax.LevenbergMarquardt(max_steps=2)
            )
        assert solution.status is Status.MAX_STEPS
        assert int(solution.num_steps) == 2
        assert not solution.status.success

    @pytest.mark.parametrize(
        ("options", "status"),
        [
            ({"gtol": 1e-3, "ftol": 0, "xtol": 0}, Status.GRADIENT),
            ({"gtol": 0, "ftol": 1e-6, "xtol": 0, "confirmation": 1e-3}, Status.COST),
            ({"gtol": 0, "ftol": 0, "xtol": 1e-4, "confirmation": 1e-3}, Status.STEP),
            ({"gtol": 0, "ftol": 0, "xtol": 0}, Status.PRECISION),
        ],
    )
    def test_each_tolerance(self, options, status):
        assert (
            lmjax.least_squares(
                residual_fn, START, (X, Y), solver=lmjax.LevenbergMarquardt(**options)
            ).status
            is status
        )

    def test_damping_exhausted_on_a_wrong_derivative(self):
        @jax.custom_jvp
        def wrong(p):
            return p - 1.0

        wrong.defjvp(lambda primals, tangents: (primals[0] - 1.0, -tangents[0]))
        with pytest.warns(lmjax.ConvergenceWarning, match="wrong derivatives"):
            solution = lmjax.least_squares(
                wrong,
                np.array([3.0]),
                solver=lmjax.LevenbergMarquardt(polish=False, second_run=False),
            )
        assert solution.status is Status.DAMPING_EXHAUSTED
        np.testing.assert_array_equal(solution.params, [3.0])

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize(
        "damping",
        [
            lmjax.Nielsen(initial=1e4),
            lmjax.Multiplicative(initial=1e4),
            lmjax.TrustRegion(initial=1e4),
        ],
    )
    def test_a_damping_that_hides_every_step_in_rounding_is_lowered(self, damping, dtype):
        @jax.custom_jvp
        def coarse(r):
            return jnp.round(1024 * r) / 1024

        coarse.defjvp(lambda primals, tangents: (coarse(primals[0]), tangents[0]))
        solver = lmjax.LevenbergMarquardt(damping=damping, polish=False, second_run=False)

        def solve(start):
            solution = lmjax.least_squares(lambda p: coarse(p - 3.0), start, solver=solver)
            return solution.params, solution.cost

        starts = np.array([[1.0], [10.0]], dtype)
        alone = [solve(start) for start in starts]
        with precision.scope(dtype):
            batch = zip(*map(np.asarray, jax.jit(jax.vmap(solve))(starts)), strict=True)
        for params, cost in (*alone, *batch):
            assert cost == 0
            np.testing.assert_allclose(params, 3.0, atol=1 / 2048)

    @pytest.mark.parametrize("scale", [1e-17, 1e-22, 1e-30])
    def test_residuals_whose_squares_vanish_are_no_minimum(self, scale):
        start = np.ones(2, np.float32)
        with pytest.warns(lmjax.ConvergenceWarning, match="too small for their dtype"):
            solution = lmjax.least_squares(
                lambda p: np.float32(scale) * (p - jnp.array([2.0, 5.0])), start
            )
        assert solution.status is Status.UNDERFLOW
        np.testing.assert_array_equal(solution.params, start)

    @pytest.mark.parametrize("start", [np.nan, np.inf, -1.0])
    def test_non_finite_start(self, start):
        with pytest.warns(lmjax.ConvergenceWarning, match="Start elsewhere"):
            solution = lmjax.least_squares(lambda p: jnp.log(p), np.array([start]))
        assert solution.status is Status.NON_FINITE_START
        np.testing.assert_array_equal(solution.params, [start])

    def test_non_finite_derivative_on_the_way(self):
        solution = lmjax.least_squares(
            lambda p: jnp.stack([jnp.sqrt(jnp.abs(p)), p - p]), np.array(1.0)
        )
        assert np.isfinite(solution.params)
        assert not np.isnan(float(solution.cost))

    def test_nan_in_part_of_the_domain_is_a_rejected_step(self):
        solution = lmjax.least_squares(lambda p: jnp.log(p) - 5.0, np.array(1e-3))
        assert solution.status.success
        np.testing.assert_allclose(solution.params, np.exp(5.0), rtol=1e-9)

    def test_no_false_success_on_a_plateau(self):
        with pytest.warns(lmjax.ConvergenceWarning, match="has any influence"):
            # Tanh is 1 there, its derivative 0.
            solution = lmjax.least_squares(lambda p: jnp.tanh(p) - 0.5, np.array([20.0, 30.0]))
        assert solution.status is Status.FLAT
        np.testing.assert_array_equal(solution.params, [20.0, 30.0])

    def test_an_exact_fit_from_the_start(self):
        solution = lmjax.least_squares(lambda p: p * 0.0, np.ones(2))
        assert solution.status is Status.GRADIENT


def test_a_failure_is_said_once_and_at_the_callers_line():
    solver = lmjax.LevenbergMarquardt(max_steps=1)
    with pytest.warns(lmjax.ConvergenceWarning) as told:
        lmjax.least_squares(residual_fn, START, (X, Y), solver=solver)
    assert [warning.filename for warning in told] == [__file__]
    with jax.enable_x64(True):  # no values, no warning
        solution = jax.jit(
            lambda start: lmjax.least_squares(residual_fn, start, (X, Y), solver=solver)
        )(START)
    assert solution.status is Status.MAX_STEPS


def test_a_status_shows_words():
    for status in Status:
        assert str(status) == f"{status}" == f"{status.name}: {status.message}"
        assert (int(status), f"{status:d}") == (status.value, str(status.value))


def test_interrupted(monkeypatch):
    """Ctrl-C between slices: the parameters of the last finished slice come back."""
    from lmjax._src.runtime import slices as driving

    monkeypatch.setattr(driving, "SLICE_SECONDS", 0.0)
    calls = []

    def interrupting(*args, **options):
        for item in driving_slices(*args, **options):
            calls.append(item)
            yield item
            if len(calls) == 2:
                signal.raise_signal(signal.SIGINT)

    driving_slices = driving.slices
    monkeypatch.setattr("lmjax._src.least_squares.run.slices", interrupting)
    monkeypatch.setattr("lmjax._src.least_squares.run._FIRST_SLICE_OPERATIONS", 1)
    solution = lmjax.least_squares(residual_fn, START, (X, Y))
    assert solution.status is Status.INTERRUPTED
    start_cost = 0.5 * np.sum((curve(X, 1, 1, 0) - Y) ** 2)
    assert float(solution.cost) < start_cost


class TestWrongInput:
    @pytest.mark.parametrize(
        ("params", "error", "words"),
        [
            (np.array([1j]), TypeError, "real"),
            ({}, ValueError, "no parameters"),
            (np.zeros(0), ValueError, "no parameters"),
            ({"w": "text"}, TypeError, r"params\['w'\]"),
            (jnp.zeros(2, jnp.bfloat16), TypeError, "float32"),
            (np.zeros(2, np.float16), TypeError, "float32"),
        ],
    )
    def test_params(self, params, error, words):
        with pytest.raises(error, match=words):
            lmjax.least_squares(lambda p: jnp.zeros(1), params)

    @pytest.mark.parametrize(
        ("function", "error", "words"),
        [
            (lambda p: jnp.zeros(0), ValueError, "no residuals"),
            (lambda p: (), ValueError, "no residuals"),
            (lambda p: p + 1j, TypeError, "complex"),
            (lambda p: jnp.arange(3), TypeError, "int"),
            ("text", TypeError, "function"),
        ],
    )
    def test_residual_function(self, function, error, words):
        with pytest.raises(error, match=words):
            lmjax.least_squares(function, np.ones(2))

    def test_args_that_are_no_tuple(self):
        with pytest.raises(TypeError, match="args=\\(data,\\)"):
            lmjax.least_squares(residual_fn, START, X)

    @pytest.mark.parametrize(
        "options",
        [
            {"jacobian": "sideways"},
            {"gtol": -1},
            {"max_steps": 0},
            {"max_steps": 2.5},
            {"non_monotonic": -1},
            {"damping": 1e-3},
            {"scaling": "more"},
        ],
    )
    def test_options(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            lmjax.LevenbergMarquardt(**options)


def test_two_threads_at_once():
    found = {}

    def work(dtype):
        for _ in range(5):
            start = {name: value.astype(dtype) for name, value in START.items()}
            found[dtype] = lmjax.least_squares(residual_fn, start, (X, Y)).params["b"]

    threads = [threading.Thread(target=work, args=(dtype,)) for dtype in (np.float32, np.float64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {dtype: np.asarray(value).dtype for dtype, value in found.items()} == {
        np.float32: np.float32,
        np.float64: np.float64,
    }
