"""How many of 50 perturbed starts of each problem end at the best known minimum: ``python -m benchmarks.starts``.

Runs lmjax and its peers, each in a process of its own (minutes each), keeps what they found in
``benchmarks/results/alternatives/starts/`` and writes the table of all that are kept. ``--only NAME`` runs one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results" / "alternatives" / "starts"

#: Evaluations of the residuals, the same for all: a run that takes more has not solved its problem.
EVALUATIONS = 1000

#: :data:`benchmarks.perturbed.STARTS`, without its imports.
STARTS = 50

_DEFAULT = "lmjax"
_PEERS = ("SciPy lm (MINPACK)", "SciPy trf, x_scale='jac'", "SciPy trf", "optimistix LevenbergMarquardt")


def solvers() -> dict[str, Callable[[], Any]]:
    """Names and what makes the solver, imported late."""
    from benchmarks import corpora

    return {
        _DEFAULT: lambda: corpora.lmjax_solver(polish=True),
        _PEERS[0]: lambda: corpora.scipy_solver("lm", max_evaluations=EVALUATIONS),
        _PEERS[1]: lambda: corpora.scipy_solver("trf", max_evaluations=EVALUATIONS, gtol=None, x_scale="jac"),
        _PEERS[2]: lambda: corpora.scipy_solver("trf", max_evaluations=EVALUATIONS, gtol=None),
        # Absolute tolerances (of trf's gradient too) would end the fits of data of 1e-21 where they start.
        _PEERS[3]: lambda: corpora.optimistix_solver(max_evaluations=EVALUATIONS, absolute=0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="run this one in this process")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table of what is kept")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        _keep(arguments.only)
        return
    if not arguments.table:
        for name in solvers():
            subprocess.run([sys.executable, "-m", "benchmarks.starts", "--only", name], env=dict(os.environ), check=False)
    text = table({record["name"]: record["solved"] for record in map(_read, sorted(FOLDER.glob("*.json")))})
    (FOLDER / "README.md").write_text(text)
    print(text)


def _keep(name: str) -> None:
    from benchmarks import perturbed

    solved: dict[str, dict[str, list[int]]] = {}
    for family, problem, which in perturbed.run_all(solvers()[name](), EVALUATIONS):
        solved.setdefault(family, {})[problem] = which
        print(name, family, problem, len(which), flush=True)
    rows = ",\n".join(
        f"{json.dumps(family)}: {{\n"
        + ",\n".join(f"{json.dumps(problem, ensure_ascii=False)}: {json.dumps(which)}" for problem, which in problems.items())
        + "\n}"
        for family, problems in solved.items()
    )
    file = re.sub("[^A-Za-z0-9]+", "-", name).strip("-").lower()
    (FOLDER / f"{file}.json").write_text(f'{{"name": {json.dumps(name, ensure_ascii=False)}, "solved": {{\n{rows}\n}}}}\n')


def _read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def table(kept: dict[str, dict[str, dict[str, list[int]]]]) -> str:
    """A row for each family, then for each problem on which the solvers differ."""
    names = [name for name in (_DEFAULT, *_PEERS) if name in kept]
    families = list(kept[names[0]])
    counts = {name: {family: sum(map(len, kept[name][family].values())) for family in families} for name in names}
    lines = [
        "# Fifty perturbed starts of each problem",
        "",
        "Written by `python -m benchmarks.starts`. How many starts end within 1e-5 of the least known sum of squares in at most",
        f"{EVALUATIONS} evaluations of the residuals, whatever the solver says of itself; benchmarks/perturbed.py says how the starts are",
        "perturbed. The JSON files beside this one name the starts.",
        "",
        f"| | starts | {' | '.join(names)} |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for family in families:
        number = STARTS * len(kept[names[0]][family])
        lines.append(f"| {family} | {number} | {' | '.join(str(counts[name][family]) for name in names)} |")
    total = STARTS * sum(len(kept[names[0]][family]) for family in families)
    lines += [f"| all | {total} | {' | '.join(str(sum(counts[name].values())) for name in names)} |", "", "Where they differ:", ""]
    lines += [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for family in families:
        for problem in kept[names[0]][family]:
            row = [len(kept[name][family][problem]) for name in names]
            if len(set(row)) > 1:
                lines.append(f"| {family}: {problem} | {' | '.join(map(str, row))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
