"""The table in README.md, from the kept results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.catalog import SESSIONS
from benchmarks.report import format_value

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
_BEGIN, _END = (
    "<!-- benchmarks: written by `python -m benchmarks --readme` -->",
    "<!-- end of benchmarks -->",
)


def table(folder: Path = RESULTS / "quick") -> str:
    """All kept workloads as Markdown, in the catalogue's order: what is compared, its ratio to the
    baseline, and the other columns.
    """
    paths = [folder / f"{session.name}.json" for session in SESSIONS]
    return "\n\n".join(
        _one(json.loads(path.read_text(encoding="utf-8"))) for path in paths if path.exists()
    )


def _one(result: dict[str, Any]) -> str:
    compared, *others = (
        _by_peer(result, name) for name in (result["compared"], *result.get("columns", ()))
    )
    names = [name for name, column in zip(result.get("columns", ()), others, strict=True) if column]
    baseline = compared.get(result["baseline"])
    machine = result["environment"]
    checked = "" if "columns" in result else "; before what compiles on a clock was counted"
    lines = [
        (
            f"**{result['workload']}**: {result['description']} ({machine['cores']} cores, "
            f"{machine['machine']}, {result['date']}{checked})"
        ),
        "",
        f"| | {' | '.join((result['compared'], '× ' + result['baseline'], *names))} |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for peer, metric in compared.items():
        share = "" if baseline is None else f"{metric['value'] / baseline['value']:.3g}"
        more = [_shown(column.get(peer)) for column in others if column]
        lines.append(f"| {' | '.join((peer, _shown(metric), share, *more))} |")
    lines += [
        f"| {entry['peer']} | {entry['reason'].replace('|', '/')} | |{' |' * len(names)}"
        for entry in result["missing"]
    ]
    return "\n".join(lines)


def _by_peer(result: dict[str, Any], name: str) -> dict[str, Any]:
    return {metric["peer"]: metric for metric in result["metrics"] if metric["name"] == name}


def _shown(metric: dict[str, Any] | None) -> str:
    return "" if metric is None else format_value(metric["value"], metric["unit"])


def section(text: str) -> tuple[str, str, str]:
    """README.md before the table, the table, and what follows."""
    before, rest = text.split(_BEGIN)
    inside, after = rest.split(_END)
    return before + _BEGIN, inside.strip("\n"), _END + after


def update() -> None:
    """Writes the table into README.md."""
    before, _, after = section(README.read_text(encoding="utf-8"))
    README.write_text(f"{before}\n\n{table()}\n\n{after}", encoding="utf-8")
