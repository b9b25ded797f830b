"""Which damping, scaling, path and acceptance solve most in the fewest evaluations: ``python -m
benchmarks.alternatives``.

Runs each alternative over both corpora in a process of its own (minutes each), keeps what it found
in ``benchmarks/results/alternatives/`` and writes the table of all that are kept. ``--only NAME``
runs one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results" / "alternatives"
_STARTS = ("start 1", "start 2", "×1", "×10", "×100")
_DEFAULT = "default: Nielsen (1/3, 1/20), running maximum (½, ½), geodesic acceleration"
_PEER = "optimistix 0.1 LevenbergMarquardt"


def alternatives() -> dict[str, Callable[[], Any]]:
    """Names and what makes the solver, imported late."""
    import lmjax
    from benchmarks import corpora

    more = lmjax.RunningMaximum(memory=1.0, power=1.0)
    options: dict[str, dict[str, Any]] = {
        _DEFAULT: {},
        "damping ×10/÷10 (Marquardt)": {"damping": lmjax.Multiplicative()},
        "damping ×1.5/÷5 (delayed gratification)": {
            "damping": lmjax.Multiplicative.delayed_gratification()
        },
        "trust region (Moré)": {"damping": lmjax.TrustRegion()},
        "λ falls to a third at the most (Nielsen)": {
            "damping": lmjax.Nielsen(first_try_limit=1 / 3)
        },
        "λ falls to a tenth at the most": {
            "damping": lmjax.Nielsen(shrink_limit=0.1, first_try_limit=0.1)
        },
        "λ falls to a thirtieth at the most": {
            "damping": lmjax.Nielsen(shrink_limit=1 / 30, first_try_limit=1 / 30)
        },
        "first λ 1e-6": {"damping": lmjax.Nielsen(initial=1e-6)},
        "first λ 1e-3": {"damping": lmjax.Nielsen(initial=1e-3)},
        "first λ 1": {"damping": lmjax.Nielsen(initial=1.0)},
        "paths to 2‖a‖/‖v‖ = 0.75": {"acceleration_limit": 0.75},
        "paths to 2‖a‖/‖v‖ = 1.5": {"acceleration_limit": 1.5},
        "λ·4 after a bent step": {"damping": lmjax.Nielsen(bent_growth=4.0)},
        "λ·16 after a bent step": {"damping": lmjax.Nielsen(bent_growth=16.0)},
        "scaling by the identity (Levenberg)": {"scaling": lmjax.IdentityScaling()},
        "scaling by the Jacobian (Marquardt)": {"scaling": lmjax.JacobianDiagonal()},
        "scaling by the running maximum (Moré)": {"scaling": more},
        "running maximum, memory ½, power 1": {"scaling": lmjax.RunningMaximum(power=1.0)},
        "straight steps": {"geodesic_acceleration": False},
        "as MINPACK: trust region, running maximum, straight": {
            "damping": lmjax.TrustRegion(),
            "scaling": more,
            "geodesic_acceleration": False,
        },
        "non-monotonic, 5 points": {"non_monotonic": 5},
        "QR": {"linear_solver": lmjax.QR()},
    }
    solvers: dict[str, Callable[[], Any]] = {
        name: lambda o=o: corpora.lmjax_solver(**o) for name, o in options.items()
    }  # type: ignore[misc]
    peers = {
        _PEER: corpora.optimistix_solver,
        "SciPy least_squares, lm": lambda: corpora.scipy_solver("lm"),
    }
    return solvers | peers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="run this one in this process")
    parser.add_argument(
        "--table", action="store_true", help="run nothing, write the table of what is kept"
    )
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        _keep(arguments.only)
        return
    if not arguments.table:
        # Programs of a few microseconds: compiling them fast is what counts here.
        flags = (
            os.environ.get("XLA_FLAGS", "")
            + " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
        )
        for name in alternatives():
            subprocess.run(
                [sys.executable, "-m", "benchmarks.alternatives", "--only", name],
                env=os.environ | {"XLA_FLAGS": flags},
                check=False,
            )
    text = table(
        {record["name"]: record["runs"] for record in map(_read, sorted(FOLDER.glob("*.json")))}
    )
    (FOLDER / "README.md").write_text(text)
    print(text)


def _keep(name: str) -> None:
    from benchmarks import corpora

    runs = [dataclasses.asdict(run) for run in corpora.run_all(alternatives()[name]())]
    file = re.sub("[^A-Za-z0-9]+", "-", name).strip("-").lower()
    rows = ",\n".join(json.dumps(run, ensure_ascii=False) for run in runs)
    (FOLDER / f"{file}.json").write_text(
        f'{{"name": {json.dumps(name, ensure_ascii=False)}, "runs": [\n{rows}\n]}}\n'
    )


def _read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def table(kept: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each alternative, the default first."""
    names = sorted(
        kept,
        key=lambda name: (
            name != _DEFAULT,
            name == _PEER or name.startswith("SciPy"),
            -_solved(kept[name], None),
        ),
    )
    default = kept.get(_DEFAULT, [])
    lines = [
        "# Alternatives over NIST's 27 problems and Moré, Garbow and Hillstrom's 48",
        "",
        (
            "Written by `python -m benchmarks.alternatives`. Solved: five correct digits of "
            "every parameter (NIST), the best-known optimum"
        ),
        (
            "(MGH), from each start. Ratio: evaluations over those of the default, on all "
            "runs that both solve and know to be solved. False:"
        ),
        (
            "success claimed where a linear step would still gain. Without the final phase, "
            "which is the same for all."
        ),
        "",
        "| | "
        + " | ".join(f"{'NIST' if start.startswith('s') else 'MGH'} {start}" for start in _STARTS)
        + " | all | ratio | false |",
        "|---|" + "---|" * (len(_STARTS) + 3),
    ]
    for name in names:
        runs = kept[name]
        counts = [str(_solved(runs, start)) for start in (*_STARTS, None)]
        false = sum(run["success"] and not run["stationary"] for run in runs)
        lines.append(f"| {name} | {' | '.join(counts)} | {_ratio(runs, default)} | {false} |")
    return "\n".join(lines) + "\n"


def _solved(runs: list[dict[str, Any]], start: str | None) -> int:
    return sum(run["solved"] for run in runs if start in (None, run["start"]))


def _ratio(runs: list[dict[str, Any]], default: list[dict[str, Any]]) -> str:
    pairs = zip(runs, default, strict=False)
    both = [
        (a["evaluations"], b["evaluations"])
        for a, b in pairs
        if all(run["solved"] and run["success"] for run in (a, b))
    ]
    return f"{sum(a for a, _ in both) / sum(b for _, b in both):.2f}" if both else "–"


if __name__ == "__main__":
    main()
