"""``lmjax.multi_start`` on problems with several minima."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from benchmarks.problems import curves

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

X = np.linspace(0, 6, 40)
Y = 1.5 * np.sin(2.0 * X + 0.4)


def sine(params, x, y):
    return params["a"] * jnp.sin(params["w"] * x + params["phase"]) - y


def two_valleys(params):
    """Minima at (±1, 2), the one at -1 lower by far."""
    return jnp.stack([params[0] ** 2 - 1, 0.1 * (params[0] + 1), params[1] - 2])


BOX = (
    {"a": np.array(0.5), "w": np.array(0.1), "phase": np.array(-1.0)},
    {"a": np.array(2.0), "w": np.array(6.0), "phase": np.array(1.0)},
)


@pytest.fixture(scope="module")
def found():
    return lmjax.multi_start(0, sine, BOX, (X, Y), num_starts=32)


def test_finds_the_global_minimum_of_a_sine(found):
    assert found.best.cost < 1e-20
    assert found.best.params["w"] == pytest.approx(2.0)
    alone = lmjax.least_squares(sine, {"a": 1.0, "w": 5.0, "phase": 0.0}, (X, Y))
    assert alone.cost > 1  # one start is not enough
    assert np.all(np.diff(found.costs) >= 0)
    assert found.counts.sum() == 32
    assert 1 < len(found) < 32
    assert np.asarray(found.best.params["w"]).dtype == np.float64


def test_each_is_a_solution(found):
    assert len(list(found)) == len(found)
    assert found[-1].cost == found.costs[-1]
    assert [solution.cost for solution in found[:2]] == list(found.costs[:2])
    assert found.best.status.success
    alone = lmjax.least_squares(sine, found.best.params, (X, Y))
    np.testing.assert_allclose(found.best.params["phase"], alone.params["phase"], rtol=1e-8)
    assert found.best.degrees_of_freedom() == 37
    assert set(found.best.standard_errors()) == {"a", "w", "phase"}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_starts_of_a_function(dtype):
    key = jax.random.key(1)
    found = lmjax.multi_start(
        key, two_valleys, lambda key: 3 * jax.random.normal(key, (2,), dtype), num_starts=16
    )
    tolerance = 1e-2 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(found.best.params, [-1, 2], rtol=tolerance)
    assert {np.asarray(solution.params).dtype for solution in found} == {np.dtype(dtype)}
    assert len(found) == 2
    assert found[1].params[0] == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_without_merging_all_are_kept():
    found = lmjax.multi_start(
        1, two_valleys, (np.array([-3.0, 0.0]), np.array([3.0, 1.0])), num_starts=8, merge=None
    )
    assert len(found) == 8
    assert set(found.counts) == {1}


@pytest.mark.slow
def test_bounds_hold():
    box = (np.array([-3.0, 0.0]), np.array([3.0, 1.0]))
    found = lmjax.multi_start(1, two_valleys, box, num_starts=8, bounds=(0.5, [np.inf, 1.5]))
    np.testing.assert_allclose(found.best.params, [found.best.params[0], 1.5])
    assert len(found) == 1
    assert found.best.standard_errors()[1] == 0


@pytest.mark.slow
def test_a_saddle_is_left_as_by_least_squares():
    """Where p₀ is zero no step moves it, and J says that this is a minimum."""

    def residual_fn(params):
        return jnp.stack([params[0] ** 2 - 1, params[1] - 2])

    found = lmjax.multi_start(
        0, residual_fn, (np.array([0.0, 0.0]), np.array([0.0, 1.0])), num_starts=3
    )
    np.testing.assert_allclose(np.abs(found.best.params), [1, 2], rtol=1e-9)
    assert (len(found), list(found.counts)) == (1, [3])


@pytest.mark.slow
def test_a_best_run_that_has_failed_is_taken_again_as_by_least_squares():
    curve = curves.sine_with_noise(0)
    start = np.array(curve.start)
    found = lmjax.multi_start(0, curve.residual_fn, (start, start), curve.data, num_starts=2)
    alone = lmjax.least_squares(curve.residual_fn, start, curve.data)
    assert found.best.status.success
    np.testing.assert_allclose(found.best.params, alone.params, rtol=1e-6)


@pytest.mark.slow
def test_a_start_without_cost_comes_last():
    found = lmjax.multi_start(
        2, lambda p: jnp.log(p) - 1, (np.array(-1.0), np.array(2.0)), num_starts=6
    )
    assert found.best.params == pytest.approx(np.e)
    assert not np.isfinite(found.costs[-1])
    assert found[-1].status is lmjax.Status.NON_FINITE_START


def test_a_second_call_compiles_nothing(found, caplog):
    with jax.log_compiles(), caplog.at_level("WARNING"):
        again = lmjax.multi_start(0, sine, BOX, (X, Y), num_starts=32)
    assert "Compiling" not in caplog.text
    np.testing.assert_array_equal(again.costs, found.costs)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"num_starts": 0}, ValueError, "num_starts"),
        ({"starts": (np.zeros(2), np.full(2, np.inf))}, ValueError, "starts"),
        ({"starts": (np.ones(2), np.zeros(2))}, ValueError, "starts"),
        ({"starts": (np.zeros(2), np.ones(3))}, ValueError, "starts"),
        ({"starts": np.zeros(3)}, ValueError, "starts"),
        ({"args": X}, TypeError, "args"),
    ],
)
def test_wrong_input_is_named(options, error, words):
    with pytest.raises(error, match=words):
        lmjax.multi_start(
            0, **({"residual_fn": two_valleys, "starts": (np.zeros(2), np.ones(2))} | options)
        )


def test_it_says_that_it_cannot_be_traced():
    with pytest.raises(TypeError, match=r"jax\.vmap"):
        jax.jit(lambda x: lmjax.multi_start(0, two_valleys, (np.zeros(2), np.ones(2)), (x,)))(1.0)
