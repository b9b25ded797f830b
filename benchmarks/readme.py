"""The table in README.md, from the kept results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.report import format_value

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
_BEGIN, _END = "<!-- benchmarks: written by `python -m benchmarks --readme` -->", "<!-- end of benchmarks -->"


def table(folder: Path = RESULTS / "quick") -> str:
    """All kept workloads as Markdown: what is compared, its median and its ratio to the baseline of the same run."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return "\n\n".join(_one(result) for result in kept)


def _one(result: dict[str, Any]) -> str:
    compared = {metric["peer"]: metric for metric in result["metrics"] if metric["name"] == result["compared"]}
    baseline = compared.get(result["baseline"])
    machine = result["environment"]
    lines = [
        f"**{result['workload']}**: {result['description']} ({machine['cores']} cores, {machine['machine']}, {result['date']})",
        "",
        f"| | {result['compared']} | × {result['baseline']} |",
        "|---|---|---|",
    ]
    for peer, metric in compared.items():
        share = "" if baseline is None else f"{metric['value'] / baseline['value']:.3g}"
        lines.append(f"| {peer} | {format_value(metric['value'], metric['unit'])} | {share} |")
    lines += [f"| {entry['peer']} | {entry['reason'].replace('|', '/')} | |" for entry in result["missing"]]
    return "\n".join(lines)


def section(text: str) -> tuple[str, str, str]:
    """README.md before the table, the table, and what follows."""
    before, rest = text.split(_BEGIN)
    inside, after = rest.split(_END)
    return before + _BEGIN, inside.strip("\n"), _END + after


def update() -> None:
    """Writes the table into README.md."""
    before, _, after = section(README.read_text(encoding="utf-8"))
    README.write_text(f"{before}\n\n{table()}\n\n{after}", encoding="utf-8")
