"""The sentence of a comparison follows its table, whatever stands there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge._src.comparison.comparison import Comparison, table_of
from bridge._src.comparison.curve import Curve
from bridge._src.comparison.verdict import ADAM, LBFGS, LEVENBERG_MARQUARDT, label

_KEYS = [(LEVENBERG_MARQUARDT, None), (ADAM, 1e-3), (ADAM, 1e-2), (LBFGS, None)]
_LOSSES = st.one_of(
    st.floats(1e-6, 1e3), st.sampled_from([1.0, 1.004, 2.0]), st.just(math.inf), st.just(math.nan)
)


@st.composite
def _curves(draw: st.DrawFn) -> dict[tuple[str, float | None], list[Curve]]:
    """Runs from one to three starts, some of which diverge, with validation data or without."""
    starts, validated = draw(st.integers(1, 3)), draw(st.booleans())
    begins = [(draw(st.floats(1.0, 10.0)), draw(st.floats(1.0, 10.0))) for _ in range(starts)]

    def run(loss: float, val_loss: float) -> Curve:
        count = draw(st.integers(0, 4))
        losses = [loss, *(draw(_LOSSES) for _ in range(count))]
        val_losses = [val_loss, *(draw(_LOSSES) for _ in range(count))]
        if not validated:
            val_losses = [math.nan] * (count + 1)
        return Curve(
            [float(number) for number in range(count + 1)],
            losses,
            val_losses,
            list(range(count + 1)),
        )

    return {key: [run(*begin) for begin in begins] for key in _KEYS}


@given(_curves())
def test_the_sentence_follows_the_table(
    curves: dict[tuple[str, float | None], list[Curve]],
) -> None:
    found = Comparison(curves, 3.0, ["A remark."])
    validated = curves[_KEYS[0]][0].is_validated
    name = "val_loss" if validated else "loss"
    chosen = [row for row in found.table if row["chosen"]]
    assert [row["method"] for row in chosen] == [LEVENBERG_MARQUARDT, ADAM, LBFGS]
    assert sum(row["best_in"] for row in found.table) == len(curves[_KEYS[0]])
    best = min(chosen, key=lambda row: row[name])
    others = [row for row in chosen if row is not best]
    clear = 2 * best["best_in"] > best["starts"] and all(
        row[name] > best[name] * 1.01 for row in others
    )
    assert found.verdict.startswith("Use ") == clear
    assert label(best) in found.verdict.split(":")[0 if clear else 1]
    level = [row for row in others if row[name] <= best[name] * 1.01]
    assert (" behind." in found.verdict) == (len(level) == 1 and not clear)
    assert all(label(row) in found.verdict for row in chosen)
    assert all(f"{row[name]:.4g}" in found.verdict for row in chosen)
    assert ("held-out" in found.verdict) == validated
    warned = "lower training loss" in found.verdict
    assert warned == (
        validated and min(row["least_loss"] for row in chosen) < 0.99 * best["least_loss"]
    )
    text = repr(found)
    assert found.verdict in text
    assert text.endswith("A remark.")
    assert text.count("* ") >= 3


@given(_curves())
def test_the_table_holds_what_fits_would_return(
    curves: dict[tuple[str, float | None], list[Curve]],
) -> None:
    for key, row in zip(curves, table_of(curves), strict=True):
        assert (row["method"], row["rate"]) == key
        runs = curves[key]
        for run in runs:
            deciding = np.array(run.val_losses if run.is_validated else run.losses)
            assert deciding[run.kept] == np.nanmin(deciding)  # the start is finite
        name = "val_loss" if "val_loss" in row else "loss"
        assert row["lowest"] <= row[name] <= row["highest"]
        assert ("val_loss" in row) == runs[0].is_validated
        if not runs[0].is_validated:
            assert row["least_loss"] == pytest.approx(row["loss"])
        assert math.isfinite(row[name])


@given(st.lists(st.floats(0.01, 1.0), max_size=6), st.floats(0.001, 8.0))
def test_a_curve_ends_with_the_seconds(gaps: list[float], seconds: float) -> None:
    spent = np.cumsum([0.0, *gaps]).tolist()
    curve = Curve(spent, spent, spent, list(range(len(spent))))
    cut = curve.until(seconds)
    assert cut.seconds == [second for second in spent if second <= seconds]
    assert cut.steps == list(range(len(cut.seconds)))
