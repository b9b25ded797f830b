"""Runs that fail are taken again from their start in another way, and the better run counts."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmjax
from benchmarks import perturbed
from benchmarks.problems import curves, mgh
from lmjax._src.least_squares import run, second_runs
from lmjax._src.levenberg_marquardt.state import initial_state
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.linear_solvers.auto import Chosen
from lmjax._src.runtime import slices

ONCE = lmjax.LevenbergMarquardt(second_run=False)


@functools.cache
def sine(seed, dtype="float64", solver=None):
    curve = curves.sine_with_noise(seed)
    return lmjax.least_squares(
        curve.residual_fn, np.array(curve.start, dtype), curve.data, solver=solver
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_frequency_of_a_sine_is_found_where_the_first_run_ends_in_a_straight_line(seed):
    """SciPy's issue 15148, in which MINPACK finds it from all seeds."""
    solution = sine(seed)
    assert solution.status.success
    assert abs(solution.params[1]) == pytest.approx(0.34, abs=0.01)
    assert abs(solution.params[0]) == pytest.approx(10, abs=1)
    assert not solution.geodesic_acceleration


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")
def test_so_it_is_where_that_line_counts_as_a_minimum_of_which_only_qr_can_tell():
    ends = [sine(seed, solver=ONCE) for seed in range(5)]
    assert {end.linear_solver for end in ends if end.status.success} <= {"QR"}


@pytest.mark.slow
def test_so_it_is_in_single_precision():
    assert abs(sine(0, "float32").params[1]) == pytest.approx(0.34, abs=0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")
def test_without_it_the_first_run_counts_and_its_evaluations_are_part_of_all():
    once = sine(0, solver=ONCE)
    assert abs(once.params[1]) < 0.01
    assert once.geodesic_acceleration
    assert sine(0).num_evaluations > once.num_evaluations


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")
def test_a_run_that_reached_its_limit_is_not_taken_again():
    once, twice = (
        sine(0, solver=lmjax.LevenbergMarquardt(second_run=again, max_steps=20))
        for again in (False, True)
    )
    assert once.status is twice.status is Status.MAX_STEPS
    assert once.num_evaluations == twice.num_evaluations


@pytest.mark.slow
def test_one_that_succeeds_is_not_taken_again(monkeypatch):
    monkeypatch.setattr(second_runs, "straight", None)
    assert lmjax.least_squares(lambda p: p - 1.0, np.zeros(3)).status.success


def test_inside_of_jit_there_is_one_run():
    curve = curves.sine_with_noise(0)
    found = jax.jit(lambda start: lmjax.least_squares(curve.residual_fn, start, curve.data).params)(
        np.array(curve.start, np.float32)
    )
    assert abs(found[1]) < 0.01


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C as a second run begins."""

    def interrupted_run(solver, *arguments):
        if not solver.geodesic_acceleration:
            raise KeyboardInterrupt
        return first(solver, *arguments)

    first = run.run
    monkeypatch.setattr(run, "run", interrupted_run)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")
@pytest.mark.usefixtures("interrupted")
def test_an_interrupt_in_the_second_run_leaves_what_the_first_has_found():
    curve = curves.sine_with_noise(0)
    solution = lmjax.least_squares(curve.residual_fn, np.array(curve.start), curve.data)
    assert solution.status is Status.INTERRUPTED
    np.testing.assert_array_equal(solution.params, sine(0, solver=ONCE).params)


def outcome(cost, status, evaluations):
    params = np.zeros(2)
    state = initial_state(params)._replace(
        cost=np.float64(cost), num_evaluations=np.int32(evaluations)
    )
    return second_runs.Outcome(params, state, int(status), Chosen("Cholesky", True))


#: From here parameters run away in pairs whose differences alone matter: 400 steps, of which each
#: gains a little less.
CREEPING = (1.9121, -0.9885, 0.5547, 0.8601)


@functools.cache
def two_decays(solver=None):
    curve = next(curve for curve in curves.FORUMS if curve.name == "double exponential")
    return lmjax.least_squares(curve.residual_fn, np.array(CREEPING), curve.data, solver=solver)


@pytest.mark.slow
def test_a_run_that_creeps_is_overtaken():
    """By straight steps, of which 67 are enough, before most of its own are taken."""
    solution = two_decays()
    assert solution.status.success
    assert 2 * solution.cost == pytest.approx(0.009999952966923976, rel=1e-9)
    assert not solution.geodesic_acceleration
    assert solution.num_evaluations < 700


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), [("Osborne 2", 11), ("Chebyquad 8", 9)])
def test_how_long_slices_take_decides_nothing(monkeypatch, name, number):
    """From these starts runs are looked at that have not ended, and go on in another way."""
    problem = next(problem for problem in mgh.PROBLEMS if problem.name == name)
    start = perturbed.perturbed(problem.start(1), name)[number]
    ends = []
    for seconds in (1e-9, 1.0):
        monkeypatch.setattr(slices, "SLICE_SECONDS", seconds)
        solution = lmjax.least_squares(problem.residual_fn, start)
        ends.append(
            (solution.status, solution.num_steps, solution.num_evaluations, *solution.params)
        )
    assert ends[0] == ends[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")
@pytest.mark.usefixtures("interrupted")
def test_an_interrupt_while_it_is_being_overtaken_leaves_what_the_first_run_has_found():
    curve = next(curve for curve in curves.FORUMS if curve.name == "double exponential")
    solution = lmjax.least_squares(curve.residual_fn, np.array(CREEPING), curve.data)
    assert solution.status is Status.INTERRUPTED
    assert solution.num_steps == 200
    assert solution.geodesic_acceleration


def test_a_second_run_that_does_not_overtake_is_not_taken_again_and_counts():
    taken = []
    again = second_runs.Again(
        lmjax.LevenbergMarquardt(),
        lambda solver: taken.append(solver) or outcome(2.0, Status.MAX_STEPS, 4),
    )
    assert not again.overtakes(3.0, 3.0)
    _, state, code, _ = again.better(outcome(0.5, Status.PRECISION, 3))
    assert (state.cost, state.num_evaluations, code) == (0.5, 7, Status.PRECISION)
    assert taken == [second_runs.straight(lmjax.LevenbergMarquardt())]


@pytest.mark.parametrize(
    ("before", "cost", "status", "expected"),
    [
        (3.0, 2.0, Status.COST, True),
        (3.0, 3.0, Status.COST, False),
        (3.0, 2.0, Status.FLAT, False),
        (3.2, 2.0, Status.COST, False),  # the first may come to 3 (3 / 3.2)⁸ = 1.8 by itself
        (3.2, 1.7, Status.COST, True),
    ],
)
def test_only_a_minimum_below_all_that_the_first_may_come_to_overtakes(
    before, cost, status, expected
):
    again = second_runs.Again(lmjax.LevenbergMarquardt(), lambda _: outcome(cost, status, 4))
    assert again.overtakes(before, 3.0) is expected


def test_a_second_run_that_would_go_the_same_way_or_has_no_steps_left_is_not_taken():
    def never(*_):
        raise AssertionError

    same = second_runs.straight(lmjax.LevenbergMarquardt())
    for solver in (same, lmjax.LevenbergMarquardt(max_steps=300)):
        assert not second_runs.Again(solver, never).overtakes(3.0, 3.0)
    first = outcome(3.0, Status.DAMPING_EXHAUSTED, 3)
    first = first._replace(state=first.state._replace(num_steps=np.int32(2)))
    assert second_runs.Again(same, never).better(first) is first


def test_a_second_run_goes_on_to_the_limit_where_it_is_the_better():
    taken = []

    def run_from(solver, start=None):
        taken.append((solver.max_steps, start))
        end = outcome(2.0 / len(taken), Status.MAX_STEPS, 4)
        return end._replace(
            params=end.params + len(taken),
            state=end.state._replace(num_steps=np.int32(200)),
            status=int(Status.COST if start is not None else Status.MAX_STEPS),
        )

    first = outcome(3.0, Status.ILL_CONDITIONED, 3)
    first = first._replace(state=first.state._replace(num_steps=np.int32(22)))
    params, state, code, _ = second_runs.Again(lmjax.LevenbergMarquardt(), run_from).better(first)
    assert (state.cost, state.num_steps, state.num_evaluations, code) == (1.0, 400, 11, Status.COST)
    assert [steps for steps, _ in taken] == [200, 800]
    np.testing.assert_array_equal(taken[1][1], [1, 1])
    np.testing.assert_array_equal(params, [2, 2])


def test_an_interrupt_of_the_second_run_is_one_of_the_first():
    again = second_runs.Again(
        lmjax.LevenbergMarquardt(), lambda _: outcome(2.0, Status.INTERRUPTED, 4)
    )
    with pytest.raises(KeyboardInterrupt):
        again.overtakes(3.0, 3.0)
    _, state, code, _ = again.better(outcome(3.0, Status.INTERRUPTED, 3))
    assert (state.cost, code) == (2.0, Status.INTERRUPTED)


ENDS = st.sampled_from(
    [Status.DAMPING_EXHAUSTED, Status.FLAT, Status.PRECISION, Status.COST, Status.INTERRUPTED]
)


@settings(deadline=None)
@given(st.floats(0, 1e10), st.floats(0, 1e10), ENDS)
def test_the_better_run_counts(first, second, status):
    runs = outcome(first, Status.DAMPING_EXHAUSTED, 3), outcome(second, status, 4)
    _, state, code, _ = second_runs.better(*runs)
    assert state.cost in (first, second)
    assert state.cost <= min(first, second) * (1 + 1e-7)
    assert state.num_evaluations == 7
    assert (code == Status.INTERRUPTED) == (status is Status.INTERRUPTED)
    assert not Status(code).success or state.cost == second
