"""Networks of ReLU that stand where Adam left them: Levenberg-Marquardt against L-BFGS, ``python -m
benchmarks.kinks``.

Keeps losses and seconds in ``benchmarks/results/kinks/`` and writes the table of all that are kept.
``--only NAME`` runs one network.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.problems.rectified import Net, lbfgs

FOLDER = Path(__file__).parent / "results" / "kinks"
_STEPS = 40

#: Of L-BFGS: more than it gets done in the seconds of the steps.
_EVALUATIONS = 4000


def nets() -> dict[str, Net]:
    """The networks by name: 8 201 weights and 1 154 rows."""
    chosen = [
        Net("with units", 0, 200),
        Net("with units", 1, 200),
        Net("standardized", 0, 50),
        Net("categories", 0, 50),
        Net("with units", 0, 200, activation="leaky relu"),
        Net("with units", 0, 200, activation="tanh"),
    ]
    return {f"{net.activation}, {net.data}, seed {net.seed}": net for net in chosen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", choices=list(nets()), help="run this one")
    parser.add_argument(
        "--table", action="store_true", help="run nothing, write the table of what is kept"
    )
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, net in nets().items() if not arguments.table else ():
        if arguments.only in (None, name):
            for dtype in ("float32", "float64"):
                _keep(f"{name}, {dtype}", measured(net, dtype))
    records = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    (FOLDER / "README.md").write_text(table(records))
    print(table(records))


def measured(net: Net, dtype: str) -> dict[str, Any]:
    """The losses of 40 steps with and without halvings, warm, and of L-BFGS in the seconds of those
    with.
    """
    from lmjax._src.training.fit import FIT_SOLVER

    plain = dataclasses.replace(FIT_SOLVER, halvings=0)
    runs = {"plain": _warm(net, dtype, plain), "default": _warm(net, dtype, FIT_SOLVER)}
    seconds = runs["default"]["seconds"][-1]
    losses, passed = lbfgs(net, dtype, _EVALUATIONS, seconds)
    return runs | {
        "L-BFGS": {
            "loss": losses[:: max(len(losses) // 200, 1)] + losses[-1:],
            "seconds": passed[-1],
            "evaluations": len(losses),
        }
    }


def _warm(net: Net, dtype: str, solver: Any) -> dict[str, Any]:
    import lmjax

    weights, x, y = net.in_precision(dtype)
    for _ in range(2):  # the second finds everything compiled
        begin = time.perf_counter()
        result = lmjax.fit(net.model, weights, x, y, epochs=_STEPS, solver=solver, verbose=0)
        seconds = time.perf_counter() - begin
    start = result.loss_at(weights)
    return {
        "loss": [start, *result.history["loss"]],
        "seconds": [*result.history["seconds"], seconds],
    }


def _keep(name: str, runs: dict[str, Any]) -> None:
    file = name.replace(", ", "-").replace(" ", "-")
    (FOLDER / f"{file}.json").write_text(json.dumps({"name": name, "runs": runs}) + "\n")


def table(records: list[dict[str, Any]]) -> str:
    """A row for each network and precision."""
    lines = [
        "# Networks with kinks, trained by Adam before",
        "",
        (
            "Written by `python -m benchmarks.kinks`: 9-50-50-50-50-1, 8 201 weights, 1 154 "
            f"rows with noise; the loss after {_STEPS} steps of"
        ),
        (
            "`lmjax.fit`, warm, and that of SciPy's L-BFGS after as many seconds as the "
            "default took. Plain: with `halvings=0`."
        ),
        "",
        (
            "| | start | plain, step 10 | plain | seconds | default, step 10 | default | "
            "seconds | L-BFGS | evaluations |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        plain, default, peer = (record["runs"][key] for key in ("plain", "default", "L-BFGS"))
        cells = [f"{plain['loss'][0]:.3f}"]
        for run in (plain, default):
            cells += [
                f"{run['loss'][min(10, len(run['loss']) - 1)]:.3g}",
                f"{min(run['loss']):.3g}",
                f"{run['seconds'][-1]:.1f}",
            ]
        lines.append(
            f"| {record['name']} | {' | '.join(cells)} | {min(peer['loss']):.3g} | "
            f"{peer['evaluations']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
