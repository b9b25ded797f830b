"""``callback``, ``verbose`` and ``max_seconds`` of ``least_squares`` and ``curve_fit``."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from benchmarks.problems import curves
from lmjax._src.least_squares import run

X = np.linspace(0, 2, 30)
Y = 2 * np.exp(-3 * X) + 0.05 * np.cos(40 * X)
START = {"height": 1.0, "rate": 1.0}
#: Options with small programs, which compile fast.
PLAIN = lmjax.LevenbergMarquardt(geodesic_acceleration=False, polish=False, second_run=False)


def decay(p, x, y):
    return p["height"] * jnp.exp(-p["rate"] * x) - y


def solve(**options):
    return lmjax.least_squares(decay, START, (X, Y), solver=PLAIN, **options)


def leaves(solution):
    return np.array(jax.tree.leaves(solution.params))


def test_a_watched_run_takes_the_same_steps():
    seen = []
    alone, watched = solve(), solve(callback=seen.append)
    assert leaves(alone).tobytes() == leaves(watched).tobytes()
    assert alone.num_steps == watched.num_steps == len(seen)
    assert alone.num_evaluations == watched.num_evaluations
    assert alone.status is watched.status
    assert [each.nit for each in seen] == list(range(1, len(seen) + 1))
    last, before = seen[-1], seen[-2]
    assert last.x.dtype == np.float64
    np.testing.assert_array_equal(last.x, leaves(watched))
    assert last.params == {"height": last.x[0], "rate": last.x[1]}
    assert last.cost == watched.cost
    assert last.nfev <= watched.num_evaluations
    np.testing.assert_allclose(before.cost - last.cost, last.reduction)
    np.testing.assert_allclose(np.linalg.norm(last.x - before.x), last.step_norm)
    p = seen[0].x
    curve = np.exp(-p[1] * X)
    slopes = np.stack([curve, -p[0] * X * curve], axis=1)
    gradient = (p[0] * curve - Y) @ slopes
    np.testing.assert_allclose(seen[0].optimality, np.abs(gradient).max(), rtol=1e-9)


def stop(progress):
    raise StopIteration


@pytest.mark.parametrize("callback", [stop, lambda progress: True], ids=["StopIteration", "true"])
def test_a_callback_ends_the_run(callback):
    solution = solve(callback=callback)
    assert solution.status is lmjax.Status.STOPPED
    assert not solution.success
    assert solution.num_steps == 1


def test_one_that_has_converged_is_not_called_stopped():
    steps = int(solve().num_steps)
    assert solve(callback=lambda progress: progress.nit == steps).success


def test_what_a_callback_raises_comes_out_as_it_is():
    def wrong(progress):
        np.exp(1.0, out=3)

    with pytest.raises(TypeError, match="return arrays must be of ArrayType"):
        solve(callback=wrong)


def test_a_callback_sees_the_callers_mode():
    modes = []
    solve(callback=lambda progress: modes.append(jax.config.jax_enable_x64))
    assert set(modes) == {jax.config.jax_enable_x64}


def test_ctrl_c_in_a_callback_keeps_the_best():
    def interrupt(progress):
        raise KeyboardInterrupt

    assert solve(callback=interrupt).status is lmjax.Status.INTERRUPTED


def test_the_time_limit_is_told(capsys):
    def slow(progress):
        time.sleep(0.2)

    solution = solve(callback=slow, max_seconds=0.1, verbose=1)
    assert solution.status is lmjax.Status.TIME
    assert solution.num_steps == 1
    said = capsys.readouterr().out
    assert said.startswith("Stopped at the time limit")
    assert "1 steps" in said
    assert solve(max_seconds=60).success


@pytest.mark.slow
def test_the_second_run_is_watched_too(capsys):
    """The first one ends in a straight line."""
    curve, runs = curves.sine_with_noise(0), []

    def follow(progress):
        if progress.nit == 1:
            runs.append(progress)
        return len(runs) == 2

    start = np.array(curve.start)
    solution = lmjax.least_squares(curve.residual_fn, start, curve.data, callback=follow, verbose=2)
    assert len(runs) == 2
    assert solution.status is lmjax.Status.STOPPED
    assert "Once more from the start, by another path:" in capsys.readouterr().out


def test_the_table(capsys):
    solution = solve(verbose=2)
    head, start, *rows, message, end = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == ""
    assert head.split() == [
        *("Iteration", "Total", "nfev", "Cost", "Cost", "reduction", "Step", "norm", "Optimality")
    ]
    initial = 0.5 * np.sum((np.exp(-X) - Y) ** 2)
    assert start.split() == ["0", f"{initial:.4e}"]
    assert [int(row.split()[0]) for row in rows] == list(range(1, int(solution.num_steps) + 1))
    assert all(len(row.split()) == 6 for row in rows)
    assert message == solution.message
    assert f"{solution.num_steps} steps, {solution.num_evaluations} evaluations" in end
    solve(verbose=1)
    assert len(capsys.readouterr().out.splitlines()) == 2
    solve()
    assert capsys.readouterr().out == ""


def test_nothing_is_compiled_again():
    for _ in range(2):
        solve(callback=lambda progress: None)
        before = len(run._slice)
    solve(callback=lambda progress: None)
    assert len(run._slice) == before


@pytest.mark.parametrize(
    "options",
    [{"callback": lambda progress: None}, {"verbose": 1}, {"max_seconds": 1.0}],
    ids=["callback", "verbose", "max_seconds"],
)
def test_inside_of_a_trace_they_are_refused_by_name(options):
    with pytest.raises(TypeError, match="callback, verbose, max_seconds: look at the run"):
        jax.jit(lambda rate: _from(rate, options))(1.0)
    with pytest.raises(TypeError, match="callback, verbose, max_seconds: look at the run"):
        jax.grad(lambda y: lmjax.least_squares(decay, START, (y, y), **options).cost)(np.ones(3))


def _from(rate, options):
    data = np.ones(3), np.ones(3)
    return lmjax.least_squares(decay, {**START, "rate": rate}, data, **options).params


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callback": 3}, "callback: expected a function of one argument or None, got 3"),
        ({"verbose": 3}, "verbose: expected 0 for nothing, 1 for the end or 2 for a table, got 3"),
        ({"verbose": "yes"}, "verbose: expected 0"),
        ({"max_seconds": 0}, "max_seconds: expected a number above 0 or None"),
        ({"max_seconds": "1"}, "max_seconds: expected a number"),
    ],
    ids=["callback", "verbose", "a word", "none", "text"],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        solve(**options)


@pytest.mark.slow
def test_curve_fits_are_watched_too(capsys):
    def curve(x, height, rate):
        return height * jnp.exp(-rate * x)

    seen = []
    popt, _ = lmjax.curve_fit(curve, X, Y, solver=PLAIN, callback=seen.append, verbose=1)
    np.testing.assert_array_equal(seen[-1].params, popt)
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.warns(lmjax.ConvergenceWarning, match="curve_fit: Stopped by a callback"):
        popt, _, information, message, ier = lmjax.curve_fit(
            curve, X, Y, solver=PLAIN, callback=stop, full_output=True
        )
    assert information["solution"].num_steps == 1
    assert message.startswith("Stopped by a callback")
    assert ier == 5
