"""Plots of written results: loss against seconds, step time against parameters, memory against
rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: Of the workloads in which a step is measured; for the axis of the plot.
_PARAMETERS = {"sinc": 61, "mlp": 2041, "wide": 13_537_203}


def draw(folder: Path) -> None:
    """Draws what the results in ``folder`` give into the same folder; says so where matplotlib is
    missing.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        print("no plots: matplotlib is not installed")
        return
    results = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    for name, result in results.items():
        if result["curves"]:
            lines = {
                peer: list(zip(*curve, strict=True)) for peer, curve in result["curves"].items()
            }
            _plot(plt, folder / f"{name}.png", lines, "seconds", "training loss", "linear")
    _plot(
        plt,
        folder / "step-against-parameters.png",
        _steps(results),
        "parameters",
        "seconds a step",
        "log",
    )
    _plot(
        plt,
        folder / "memory-against-rows.png",
        _memory(results),
        "rows",
        "memory in all, GB",
        "log",
        "linear",
    )


def _steps(results: dict[str, Any]) -> dict[str, Any]:
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for workload, size in _PARAMETERS.items():
        for metric in results.get(workload, {"metrics": []})["metrics"]:
            if metric["name"] == "step":
                x, y = lines.setdefault(metric["peer"], ([], []))
                x.append(size)
                y.append(metric["value"])
    return lines


def _memory(results: dict[str, Any]) -> dict[str, Any]:
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for metric in results.get("streaming", {"metrics": []})["metrics"]:
        if metric["name"] == "memory in all":
            name, rows = metric["peer"].removesuffix(" rows").split(", ", 1)
            x, y = lines.setdefault(name, ([], []))
            x.append(int(rows.replace(",", "")))
            y.append(metric["value"])
    return lines


def _plot(
    plt: Any,
    path: Path,
    lines: dict[str, Any],
    x_label: str,
    y_label: str,
    x_scale: str,
    y_scale: str = "log",
) -> None:
    if not lines:
        return
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker="o" if len(x) < 20 else None, label=name)
    axes.set(xlabel=x_label, ylabel=y_label, xscale=x_scale, yscale=y_scale)
    if y_scale == "linear":
        axes.set_ylim(bottom=0)
    axes.legend(fontsize="x-small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
