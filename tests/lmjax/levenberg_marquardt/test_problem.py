"""Every entry takes every option of a problem, and means by it what ``least_squares`` means."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lmjax
from lmjax.optax import levenberg_marquardt

X = np.linspace(0, 3, 30)
Y = 2.0 * np.exp(-1.5 * X) + 0.01 * np.cos(40 * X)
Y[4] += 1.0  # an outlier, so that losses and weights count
START = {"a": np.array(1.0), "b": np.array(0.3)}
WEIGHTS = np.where(np.arange(30) == 4, 0.0, 1 + X)
SIGMA = 0.1 + 0.05 * X


def decay(params, x, y):
    return params["a"] * jnp.exp(-params["b"] * x) - y


def slopes(params, x, y):
    factor = jnp.exp(-params["b"] * x)
    return {"a": factor, "b": -params["a"] * x * factor}


def decoy(params, x, y):
    """The same residuals, with derivatives that are wrong."""
    return decay(jax.lax.stop_gradient(params), x, y) + 0 * params["a"] * params["b"]


OPTIONS = {
    "jac": {"jac": slopes},
    "fixed": {"fixed": {"a": False, "b": True}},
    "weights": {"weights": WEIGHTS},
    "sigma": {"sigma": SIGMA},
    "loss": {"loss": "soft_l1"},
    "loss object": {"loss": lmjax.Huber(0.05)},
    "bounds": {"bounds": ({"a": 0.5, "b": None}, {"a": 1.7, "b": 1.1})},
}
OPTIONS["together"] = OPTIONS["jac"] | OPTIONS["sigma"] | OPTIONS["loss"] | OPTIONS["bounds"]
each_option = pytest.mark.parametrize("name", OPTIONS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def function_for(name):
    return decoy if "jac" in OPTIONS[name] else decay


def cast(tree, dtype):
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)


@functools.cache
def expected(name, dtype="float64"):
    solution = lmjax.least_squares(function_for(name), cast(START, dtype), (X, Y), **OPTIONS[name])
    assert solution.status.success
    return solution.params


def assert_equal(found, wanted, dtype, index=...):
    for key, value in wanted.items():
        np.testing.assert_allclose(
            np.asarray(found[key])[index], value, rtol=2e-3 if dtype == "float32" else 1e-7
        )


def of_two(tree):
    """A batch: the start, and one beside it; what is fixed is the same."""
    return {"a": np.stack([tree["a"], 1.1 * tree["a"]]), "b": np.stack([tree["b"]] * 2)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fixed", "together"])
def test_steps_by_hand(name):
    solver, function, options = lmjax.LevenbergMarquardt(), function_for(name), OPTIONS[name]
    with jax.enable_x64(True):
        params, state = START, solver.init(function, START, (X, Y), **options)
        step = jax.jit(lambda p, s: solver.step(function, p, s, (X, Y), **options))
        for _ in range(30):
            params, state = step(params, state)
        assert lmjax.Status(int(state.status)).success
    assert_equal(params, expected(name), "float64")


@pytest.mark.slow
@each_dtype
@each_option
def test_steps_by_hand_in_a_batch(name, dtype):
    solver, function, options = lmjax.LevenbergMarquardt(), function_for(name), OPTIONS[name]
    data = cast((X, Y), dtype)
    with jax.enable_x64(dtype == "float64"):
        params = of_two(cast(START, dtype))
        state = jax.vmap(lambda p: solver.init(function, p, data, **options))(params)
        step = jax.jit(jax.vmap(lambda p, s: solver.step(function, p, s, data, **options)))
        for _ in range(30):
            params, state = step(params, state)
        assert params["a"].dtype == dtype
    for index in range(2):
        assert_equal(params, expected(name, dtype), dtype, index)


@pytest.mark.slow
def test_options_may_be_traced_beside_numbers_of_numpy():
    """JAX warns of float64 where it does not compute in it, and some have warnings as errors."""

    def solve(weights, upper, fixed):
        return lmjax.least_squares(
            decay,
            START,
            (X, Y),
            weights=weights,
            bounds=(0.0, upper),
            fixed={"a": fixed, "b": False},
        ).params

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params = jax.jit(solve)(WEIGHTS, 5.0, False)
    assert_equal(params, expected("weights"), "float32")


@pytest.mark.slow
def test_options_may_be_data_of_the_step():
    solver = lmjax.LevenbergMarquardt()

    @jax.jit
    def step(params, state, weights, lower):
        options = {"weights": weights, "bounds": ({"a": lower, "b": None}, None)}
        return solver.step(decay, params, state, (X, Y), **options)

    with jax.enable_x64(True):
        start = jax.tree.map(jnp.asarray, START | {"a": np.array(2.5)})
        for weights, lower in ((WEIGHTS, 0.0), (np.sqrt(WEIGHTS), 2.2)):
            params, state = start, solver.init(decay, start)
            for _ in range(30):
                params, state = step(params, state, weights, lower)
            solution = lmjax.least_squares(
                decay, start, (X, Y), weights=weights, bounds=({"a": lower, "b": None}, None)
            )
            assert_equal(params, solution.params, "float64")
    assert step._cache_size() == 1


class Recorder(lmjax.LevenbergMarquardt):
    """Steps nowhere, and tells what it was asked."""

    def init(self, *arguments, **options):
        return super().init(*arguments, **options)._replace(known=options)

    def step(self, residual_fn, params, state, args=(), **options):
        return params, state._replace(known=(state.known, options))


@each_option
def test_updates_of_optax_are_steps_with_the_same_options(name):
    options = OPTIONS[name]
    transform = levenberg_marquardt(decay, Recorder(), **options)
    _, state = transform.update(None, transform.init(START), START, args=(X, Y))
    for given in state.known:
        assert {key: value for key, value in given.items() if value is not None} == (
            {"loss": "linear"} | options
        )


@pytest.mark.slow
def test_updates_of_optax():
    transform = levenberg_marquardt(decoy, **OPTIONS["together"])
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, START)
        state = transform.init(params)

        @jax.jit
        def step(params, state):
            updates, state = transform.update(None, state, params, args=(X, Y))
            return optax.apply_updates(params, updates), state

        for _ in range(30):
            params, state = step(params, state)
    assert_equal(params, expected("together"), "float64")


@pytest.mark.slow
def test_an_update_takes_weights_of_its_own():
    transform = levenberg_marquardt(decay, sigma=SIGMA)
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, START)
        state = transform.init(params)
        update = jax.jit(lambda p, s: transform.update(None, s, p, args=(X, Y), weights=WEIGHTS))
        for _ in range(30):
            updates, state = update(params, state)
            params = optax.apply_updates(params, updates)
    assert_equal(params, expected("weights"), "float64")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in OPTIONS), ("together", "float32")]
)
def test_many_starts(name, dtype):
    def start(key):
        return {"a": jnp.asarray(1 + jax.random.uniform(key), dtype), "b": jnp.asarray(0.3, dtype)}

    found = lmjax.multi_start(0, function_for(name), start, (X, Y), num_starts=4, **OPTIONS[name])
    wanted = expected(name, dtype)
    assert found.best.status.success
    assert_equal(found.best.params, wanted, dtype)
    if name == "fixed":
        assert found.best.standard_errors()["b"] == 0


@pytest.mark.slow
def test_starts_keep_the_values_that_are_fixed():
    box = ({"a": np.array(1.0), "b": np.array(0.5)}, {"a": np.array(2.0), "b": np.array(2.5)})
    found = lmjax.multi_start(
        0, decay, box, (X, Y), num_starts=5, merge=None, fixed={"a": False, "b": True}
    )
    assert len({float(solution.params["b"]) for solution in found}) == 5
    for solution in found:
        alone = lmjax.least_squares(decay, solution.params, (X, Y), fixed={"a": False, "b": True})
        np.testing.assert_allclose(solution.params["a"], alone.params["a"], rtol=1e-9)
        assert solution.standard_errors()["b"] == 0


def curve(x, a, b):
    return a * jnp.exp(-b * x)


@pytest.mark.parametrize("name", ["fixed", "weights", "sigma", "loss", "loss object", "bounds"])
def test_curves(name):
    options = dict(OPTIONS[name])
    if name == "fixed":
        options["fixed"] = [False, True]
    if name == "bounds":
        options["bounds"] = ([0.5, -np.inf], [1.7, 1.1])
    (a, b), _ = lmjax.curve_fit(curve, X, Y, [1.0, 0.3], **options)
    assert_equal({"a": a, "b": b}, expected(name), "float64")


def test_weights_of_curves_go_with_their_measurements():
    y = np.where(np.arange(30) == 7, np.nan, Y)
    found, covariance = lmjax.curve_fit(
        curve, X, y, [1.0, 0.3], weights=1 / SIGMA**2, nan_policy="omit"
    )
    wanted, wanted_covariance = lmjax.curve_fit(
        curve, X, y, [1.0, 0.3], sigma=SIGMA, nan_policy="omit"
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    np.testing.assert_allclose(covariance, wanted_covariance, rtol=1e-6)


def by_least_squares(**options):
    lmjax.least_squares(decay, START, (X, Y), **options)


def by_init(**options):
    lmjax.LevenbergMarquardt().init(decay, START, (X, Y), **options)


def by_step(**options):
    solver = lmjax.LevenbergMarquardt()
    solver.step(decay, START, solver.init(decay, START), (X, Y), **options)


def by_optax(**options):
    levenberg_marquardt(decay, **options).init(START)


def by_starts(**options):
    lmjax.multi_start(0, decay, (START, START), (X, Y), num_starts=2, **options)


ENTRIES = [by_least_squares, by_init, by_step, by_optax, by_starts]
WRONG = [
    ({"jac": 3}, "jac: expected a function"),
    ({"fixed": True}, "fixed: all parameters are fixed"),
    ({"fixed": {"a": 1, "b": 0}}, "fixed: expected True"),
    ({"weights": -1.0}, "weights: expected finite numbers"),
    ({"sigma": 0.0}, "sigma: expected finite numbers"),
    ({"weights": 1.0, "sigma": 1.0}, "weights, sigma: give one"),
    ({"loss": "absolute"}, "loss: expected 'linear'"),
    ({"bounds": 3}, r"bounds: expected \(lower, upper\)"),
    ({"bounds": (2.0, 1.0)}, "bounds: params"),
]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(("options", "words"), WRONG, ids=[words for _, words in WRONG])
def test_wrong_options_are_named_by_every_entry(entry, options, words):
    with pytest.raises((TypeError, ValueError), match=f"^{words}") as caught:
        entry(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["init", "step"])
def test_args_that_are_no_tuple(method):
    solver = lmjax.LevenbergMarquardt()
    others = (solver.init(decay, START),) if method == "step" else ()
    with pytest.raises(TypeError, match=r"args=\(data,\)"):
        getattr(solver, method)(decay, START, *others, X)


@pytest.mark.slow
def test_a_start_outside_of_its_bounds_is_told_once():
    solver, bounds = lmjax.LevenbergMarquardt(), (0.5, 3.0)
    with jax.enable_x64(True):
        with pytest.warns(UserWarning, match=r"params\['b'\]: 1 start"):
            state = solver.init(decay, START, (X, Y), bounds=bounds)
        params, _ = solver.step(decay, START, state, (X, Y), bounds=bounds)
        assert params["b"] >= 0.5
