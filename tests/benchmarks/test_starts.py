"""The problems and starts of ``benchmarks.starts``, and its table."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import perturbed, starts
from benchmarks.corpora import lmjax_solver
from benchmarks.problems import curves


def test_perturbed_starts_are_the_same_each_time_and_keep_their_signs() -> None:
    start = np.array([-3.0, 0.0, 1e-20])
    around = perturbed.perturbed(start, "name")
    np.testing.assert_array_equal(around, perturbed.perturbed(start, "name"))
    assert around.shape == (50, 3)
    assert np.all(around[:, 0] < 0)
    assert np.all(around[:, 2] > 0)
    assert 0 < np.abs(around[:, 1]).max() < 1e-19
    assert not np.array_equal(around, perturbed.perturbed(start, "another name"))


def test_a_start_of_zeros_is_perturbed_by_ones() -> None:
    assert 0.5 < np.abs(perturbed.perturbed(np.zeros(6), "name")).max() < 10


@pytest.mark.slow
def test_problems_have_fifty_starts_each_in_five_families() -> None:
    problems = list(perturbed.problems())
    assert starts.STARTS == perturbed.STARTS == 50
    families = [problem.family for problem in problems]
    assert {family: families.count(family) for family in families} == {
        "NIST": 27,
        "MGH": 48,
        "forums": 12,
        "SI units": 6,
        "sine": 2,
    }
    assert all(
        problem.starts.shape[0] == 50 and np.isfinite(problem.starts).all() for problem in problems
    )


@pytest.mark.parametrize(
    "curve",
    [*curves.FORUMS, *curves.units(), curves.sine_with_noise(0)],
    ids=lambda curve: curve.name,
)
def test_least_sums_of_squares_are_reached_near_the_parameters_that_have_them(
    curve: curves.Curve,
) -> None:
    """By MINPACK from the best parameters in print or from the truth; none is lower."""
    least = perturbed.least(curve)
    with jax.enable_x64(True):
        at_start = float(np.sum(np.square(curve.residual_fn(np.array(curve.start), *curve.data))))
    assert 0 < least < at_start


@pytest.mark.slow
def test_a_run_counts_as_solved_by_its_cost_and_evaluations() -> None:
    problem = next(problem for problem in perturbed.problems() if problem.name == "enzyme")
    solver = lmjax_solver()
    assert perturbed.solved(problem, solver, 1000, numbers=range(3)) == [0, 1, 2]
    assert perturbed.solved(problem, solver, 1, numbers=range(3)) == []


def test_table_has_a_row_for_each_family_and_for_problems_that_differ() -> None:
    kept = {
        "lmjax": {"NIST": {"a": [0, 1], "b": [2]}, "sine": {"c": []}},
        "SciPy trf": {"NIST": {"a": [0], "b": [7]}, "sine": {"c": []}},
    }
    text = starts.table(kept)
    assert "| NIST | 100 | 3 | 2 |" in text
    assert "| all that all have run | 150 | 3 | 2 |" in text
    assert "| NIST: a | 2 | 1 |" in text
    assert "b |" not in text


def test_a_family_that_a_solver_has_not_run_is_left_open_and_counts_in_no_total() -> None:
    text = starts.table(
        {"lmjax": {"NIST": {"a": [0]}, "sine": {"c": [1]}}, "SciPy trf": {"sine": {"c": []}}}
    )
    assert "| NIST | 50 | 1 | – |" in text
    assert "| all that all have run | 50 | 1 | 0 |" in text


def test_a_family_that_a_run_has_left_in_its_middle_counts_in_no_total_but_shows_its_problems() -> (
    None
):
    text = starts.table(
        {"lmjax": {"NIST": {"a": [0], "b": []}}, "SciPy trf": {"NIST": {"a": [0, 1]}}}
    )
    assert "| NIST | 100 | 1 | – |" in text
    assert "| NIST: a | 1 | 2 |" in text
    assert "b |" not in text


def test_what_was_found_is_kept_after_each_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def solved(problem: perturbed.Problem, *_: object) -> list[int]:
        if problem.name == "perturbed, 50 noises":
            raise KeyboardInterrupt
        ran.append(problem.name)
        return [7]

    monkeypatch.setattr(perturbed, "solved", solved)
    monkeypatch.setattr(starts, "FOLDER", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        starts.run("lmjax", ("sine",))
    assert (
        (tmp_path / "lmjax.json").read_text()
        == '{"name": "lmjax", "solved": {\n"sine": {\n"as posted, 50 noises": [7]\n}\n}}\n'
    )
    with pytest.raises(KeyboardInterrupt):
        starts.run("lmjax", ("sine",), missing=True)
    assert ran == ["as posted, 50 noises"]
