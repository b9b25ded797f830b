"""Versions of JAX that compute wrong values, and what tells them."""

from __future__ import annotations

import re
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

import lmjax
from bridge._src.command.main import main
from lmjax._src.runtime import compilation, faults
from lmjax._src.self_check import cases, outcomes, sums

ROOT = Path(__file__).parents[3]


def test_the_requirements_exclude_what_the_table_lists():
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for package in ("jax", "jaxlib"):
        (line,) = (line for line in requirements if re.match(rf"{package}\b", line))
        assert set(re.findall(r"!=([\d.]+)", line)) == set(faults.WRONG)
    for file in (ROOT / "constraints").iterdir():
        assert not set(re.findall(r"^jax(?:lib)?==([\d.]+)", file.read_text(), re.MULTILINE)) & set(
            faults.WRONG
        )


def test_an_excluded_version_is_warned_of_once(monkeypatch):
    monkeypatch.setattr(faults, "WRONG", {faults.INSTALLED: "sums (example#1)"})
    monkeypatch.setattr(faults, "_told", False)
    with pytest.warns(
        UserWarning, match=r"wrong values on processors: sums \(example#1\).*lmjax check"
    ) as told:
        lmjax.least_squares(lambda p: p - 1.0, np.zeros(2))
    lmjax.least_squares(lambda p: p - 1.0, np.zeros(2))  # warnings are errors here
    assert [warning.filename for warning in told] == [__file__]


def test_other_versions_are_not_warned_of(monkeypatch):
    monkeypatch.setattr(faults, "WRONG", {"0.0.1": "everything"})
    monkeypatch.setattr(faults, "_told", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lmjax.least_squares(lambda p: p - 1.0, np.zeros(3))


def _sums_that_are_off(by):
    def check(dtype):
        x = np.arange(1.0, 9.0)
        yield cases.Case(
            "8 rows", x.sum() * (1 + by * np.finfo(dtype).eps), np.asarray(x.sum()), x.sum()
        )

    return check


@pytest.mark.parametrize(
    ("by", "code", "verdict"), [(1, 0, "ok"), (1000, 1, "WRONG"), (np.nan, 1, "WRONG")]
)
def test_the_command_says_what_is_wrong(by, code, verdict, monkeypatch, capsys):
    monkeypatch.setattr(outcomes, "_CHECKS", {"sums": _sums_that_are_off(by)})
    assert main(["check"]) == code
    said = capsys.readouterr().out
    assert len(re.findall(rf"^sums +float(?:32|64) .* {verdict} +8 rows$", said, re.MULTILINE)) == 2
    assert ("all right" in said) == (code == 0)


@pytest.mark.slow
def test_this_machine_is_right():
    """As users compile, and as these tests do."""
    assert [
        outcome for outcome in outcomes.outcomes() if not (outcome.is_right or outcome.is_known)
    ] == []


def test_products_that_are_wrong_beyond_some_row_are_found(monkeypatch):
    """As jaxlib 0.10.2 computes them: a row of zeros in place of what a block of instructions left
    out.
    """
    monkeypatch.setattr(sums, "ROWS", (64, 65))

    def faulty(left, right):
        product = left @ right
        return product if left.shape[0] < 65 else product.at[-1].set(0)

    monkeypatch.setattr(sums, "matrix_product", faulty)
    found = list(sums.products(np.dtype(np.float32)))
    wrong = {case.where for case in found if cases.excess(case, np.dtype(np.float32)) > 1}
    assert any("100 × 65" in where for where in wrong)
    assert not any("33 × 65" in where for where in wrong)


@pytest.mark.parametrize(
    ("version", "code", "said"), [((0, 10, 1), 0, "all else right"), ((0, 12, 0), 1, "wrong, in")]
)
def test_what_is_known_and_worked_around_is_told_and_no_failure(
    version, code, said, monkeypatch, capsys
):
    monkeypatch.setattr(faults.jaxlib.version, "__version_info__", version)
    monkeypatch.setattr(outcomes, "_CHECKS", {faults.WORKED_AROUND: _sums_that_are_off(1000)})
    assert main(["check"]) == code
    printed = capsys.readouterr().out
    assert said in printed
    assert "WRONG" in printed
    assert ("known of jaxlib" in printed) == (code == 0)


@pytest.mark.parametrize("version", [(0, 10, 1), (0, 12, 0)])
def test_programs_that_run_long_are_compiled_round_what_is_wrong(version, monkeypatch):
    monkeypatch.setattr(faults.jaxlib.version, "__version_info__", version)
    # Where an earlier test compiled with a jaxlib that knows the option no longer.
    monkeypatch.setattr(compilation, "_unknown", set())
    given = []

    class Lowered:
        def compile(self, options=None):
            given.append(options)

    compilation.compiled(Lowered(), compilation.Effort.FULL)
    assert given == [
        {"xla_cpu_use_fusion_emitters": False} if version < faults.RIGHT_AGAIN else None
    ]
