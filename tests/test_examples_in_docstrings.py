"""The examples in the docstrings of what is there to be extended are executed."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

import bridge.layers
import lmjax.extend

FACES = (lmjax.extend, bridge.layers)


def _examples(face: ModuleType) -> list[doctest.DocTest]:
    found: list[doctest.DocTest] = []
    for name in face.__all__:
        found += doctest.DocTestFinder(recurse=False).find(getattr(face, name), name, globs={})
    return [test for test in found if test.examples]


@pytest.mark.parametrize(
    "example", [test for face in FACES for test in _examples(face)], ids=lambda test: test.name
)
def test_example_runs(example: doctest.DocTest) -> None:
    said: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert results.attempted
    assert not results.failed, "".join(said)


def test_what_one_may_pass_has_an_example() -> None:
    named = {test.name for test in _examples(lmjax.extend)}
    assert named >= {
        "DampingRule",
        "FeasibleSet",
        "LinearSolver",
        "LinearSolverChoice",
        "Loss",
        "RobustLoss",
        "Scaling",
    }
