"""The README's table is that of the kept results."""

from __future__ import annotations

import json

from benchmarks import plots
from benchmarks.catalog import SESSIONS
from benchmarks.readme import README, RESULTS, section, table


def test_readme_shows_the_kept_results() -> None:
    _, shown, _ = section(README.read_text(encoding="utf-8"))
    assert shown == table(), "run `python -m benchmarks --readme`"


def test_kept_results_are_of_quick_or_full_runs_of_known_workloads() -> None:
    names = {session.name for session in SESSIONS}
    for mode in ("quick", "full"):
        for path in (RESULTS / mode).glob("*.json"):
            result = json.loads(path.read_text(encoding="utf-8"))
            assert (result["mode"], result["workload"]) == (mode, path.stem)
            assert result["workload"] in names


def test_plots_are_drawn_of_kept_results(tmp_path) -> None:
    for path in (RESULTS / "quick").glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    plots.draw(tmp_path)
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert {"memory-against-rows", "minibatch-teacher"} <= drawn
