"""The frame of the benchmarks: interleaving, missing peers, ratios, reports."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.catalog import SESSIONS
from benchmarks.metrics import Metric, Missing, ratio
from benchmarks.session import Session, run
from benchmarks.worker import Peer, one_line
from benchmarks.workloads.regression import Regression, sinc


def _small() -> Regression:
    """Forty steps of it take longer than the set-up of a fit varies, which is taken out by
    subtraction.
    """
    return sinc(4000)


def _silent(_: str) -> None:
    pass


def test_sinc_is_the_workload_of_the_issue() -> None:
    workload = sinc()
    assert workload.x.shape == workload.y.shape == (20_000, 1)
    assert workload.num_params == 61
    np.testing.assert_allclose(workload.y[1:3] * 10 * workload.x[1:3], np.sin(10 * workload.x[1:3]))
    limit = np.sqrt(6 / 21)
    assert all(
        np.abs(kernel).max() <= limit and not bias.any() for kernel, bias in workload.start()
    )


def test_reasons_name_no_folder_of_this_machine() -> None:
    message = (
        'Error:\n  File "/home/me/.venv/lib/python3.11/site.py", line 1, node '
        "gradients/MatMul and/or 3 MB/s"
    )
    assert one_line(message) == 'Error: File "site.py", line 1, node gradients/MatMul and/or 3 MB/s'


@pytest.mark.slow
def test_peers_are_measured_and_missing_ones_reported(tmp_path: Path) -> None:
    peers = (
        Peer("lmjax float32", "lmjax_fit", {"dtype": "float32"}),
        Peer("machine", "machine", {"dtype": "float64"}),
        Peer("nobody", "no_such_peer"),
        Peer("wrong option", "machine", {"dtype": "float7"}),
    )
    session = Session("small", "a small workload", _small, peers, "lmjax float32", "step")
    outcome = run(session, "quick", 2, _silent)
    metrics, missing = outcome.metrics, outcome.missing
    found = {(metric.peer, metric.name): metric for metric in metrics}
    assert found["lmjax float32", "step"].value > 0
    assert len(found["lmjax float32", "step"].samples) == 2
    assert found["lmjax float32", "mse after 45 steps"].value < np.mean(_small().y ** 2)
    assert found["machine", "JᵀJ as J.T @ J"].unit == "s"
    assert {entry.peer for entry in missing} == {"nobody", "wrong option"}
    assert "not installed" in missing[0].reason

    stream = io.StringIO()
    report.show(session, metrics, missing, Console(file=stream, width=150))
    assert stream.getvalue().count("missing") == 2
    report.write(tmp_path / "results.json", "quick", session, outcome)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["mode"] == "quick"
    assert len(content["metrics"]) == len(metrics)
    assert len(content["missing"]) == 2


def test_ratio_is_of_medians() -> None:
    ours = Metric("w", "ours", "step", "s", "lower", (1.0, 2.0, 9.0))
    theirs = Metric("w", "theirs", "step", "s", "lower", (8.0,))
    assert ratio([ours, theirs], "ours", "theirs", "step") == 0.25
    assert ratio([ours], "ours", "theirs", "step") is None
    assert (ours.value, ours.best) == (2.0, 1.0)


def test_missing_is_json() -> None:
    assert Missing("w", "p", "gone").as_dict() == {"workload": "w", "peer": "p", "reason": "gone"}


def test_every_session_compares_with_one_of_its_peers() -> None:
    for session in SESSIONS:
        names = [peer.name for peer in session.peers]
        assert session.baseline in names
        assert len(set(names)) == len(names)
