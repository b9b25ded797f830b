"""What was measured, as a table for people and as JSON for machines."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.metrics import Metric, Missing, ratio
from benchmarks.session import Outcome, Session
from benchmarks.worker import Mode

_PACKAGES = (
    *("jax", "jaxlib", "numpy", "scipy", "keras", "optax", "optimistix", "jaxopt", "nlsq"),
    *("torch", "torch-levenberg-marquardt", "tensorflow", "tf-levenberg-marquardt"),
)


def environment() -> dict[str, object]:
    """The machine and the versions of what was compared."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "machine": f"{_processor()}, {platform.machine()}",
        "cores": os.cpu_count(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        "unknown processor",
    )


def format_value(value: float, unit: str) -> str:
    if unit == "s" and value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.4g} {unit}".rstrip()


def show(
    session: Session, metrics: Sequence[Metric], missing: Sequence[Missing], console: Console
) -> None:
    """Prints one row a number; a peer that is missing has a row that says so."""
    table = Table(
        "peer",
        "quantity",
        "median",
        "best",
        "× baseline",
        title=session.description,
        title_justify="left",
    )
    for peer in session.peers:
        for metric in (metric for metric in metrics if metric.peer == peer.name):
            share = (
                ratio(metrics, peer.name, session.baseline, metric.name)
                if metric.name == session.compared
                else None
            )
            table.add_row(
                peer.name,
                metric.name,
                format_value(metric.value, metric.unit),
                format_value(metric.best, metric.unit),
                "" if share is None else f"{share:.3f}",
            )
        for entry in (entry for entry in missing if entry.peer == peer.name):
            table.add_row(peer.name, "missing", entry.reason, "", "")
    console.print(table)
    console.print(
        f"baseline: {session.baseline}; medians over the rounds, peers interleaved, one "
        "process each"
    )


def write(path: Path, mode: Mode, session: Session, outcome: Outcome) -> None:
    """Writes everything of one workload to ``path``; quick and full runs are marked, for they must
    not be compared.
    """
    content = {
        "mode": mode,
        "workload": session.name,
        "description": session.description,
        "baseline": session.baseline,
        "compared": session.compared,
        "columns": session.columns,
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "metrics": [metric.as_dict() for metric in outcome.metrics],
        "missing": [entry.as_dict() for entry in outcome.missing],
        "curves": outcome.curves,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
