"""How many of 50 perturbed starts of each problem end at the best known minimum: ``python -m
benchmarks.starts``.

Runs lmjax and its peers, each in a process of its own (minutes each), keeps what they found in
``benchmarks/results/alternatives/starts/`` after each problem and writes the table of all that are
kept. ``--only NAME`` runs one, ``--family NAME`` the problems of one family; what they find takes
the place of what is kept. ``--missing`` leaves out what is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results" / "alternatives" / "starts"

#: Evaluations of the residuals, the same for all: a run that takes more has not solved its problem.
EVALUATIONS = 1000

#: :data:`benchmarks.perturbed.STARTS`, without its imports.
STARTS = 50

#: In the order of the table.
FAMILIES = ("NIST", "MGH", "forums", "SI units", "sine")

#: The numbers of the starts that were solved, by family and problem.
Solved = dict[str, dict[str, list[int]]]

_DEFAULT = "lmjax"
_PEERS = (
    "SciPy lm (MINPACK)",
    "SciPy trf, x_scale='jac'",
    "SciPy trf",
    "optimistix LevenbergMarquardt",
)


def solvers() -> dict[str, Callable[[], Any]]:
    """Names and what makes the solver, imported late."""
    from benchmarks import corpora

    return {
        _DEFAULT: lambda: corpora.lmjax_solver(polish=True, second_run=True),
        _PEERS[0]: lambda: corpora.scipy_solver("lm", max_evaluations=EVALUATIONS),
        _PEERS[1]: lambda: corpora.scipy_solver(
            "trf", max_evaluations=EVALUATIONS, gtol=None, x_scale="jac"
        ),
        _PEERS[2]: lambda: corpora.scipy_solver("trf", max_evaluations=EVALUATIONS, gtol=None),
        # Absolute tolerances (of trf's gradient too) would end the fits of data of 1e-21 where they
        # start.
        _PEERS[3]: lambda: corpora.optimistix_solver(max_evaluations=EVALUATIONS, absolute=0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="run this one in this process")
    parser.add_argument("--family", choices=FAMILIES, help="these problems only")
    parser.add_argument(
        "--missing", action="store_true", help="those problems only of which nothing is kept"
    )
    parser.add_argument(
        "--table", action="store_true", help="run nothing, write the table of what is kept"
    )
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        run(
            arguments.only, (arguments.family,) if arguments.family else FAMILIES, arguments.missing
        )
        return
    if not arguments.table:
        for name in solvers():
            command = [
                sys.executable,
                "-m",
                "benchmarks.starts",
                "--only",
                name,
                *(["--missing"] if arguments.missing else []),
            ]
            subprocess.run(
                command + (["--family", arguments.family] if arguments.family else []), check=False
            )
    text = table(
        {record["name"]: record["solved"] for record in map(_read, sorted(FOLDER.glob("*.json")))}
    )
    (FOLDER / "README.md").write_text(text)
    print(text)


def run(name: str, families: tuple[str, ...], missing: bool = False) -> None:
    """Runs the problems of these families by the solver of this name and keeps what it solves;
    those ``missing`` only, on request.
    """
    from benchmarks import perturbed

    path = FOLDER / f"{re.sub('[^A-Za-z0-9]+', '-', name).strip('-').lower()}.json"
    solved: Solved = _read(path)["solved"] if path.exists() else {}
    solver = solvers()[name]()
    for problem in perturbed.problems():
        kept = solved.setdefault(problem.family, {}) if problem.family in families else {}
        if problem.family not in families or (missing and problem.name in kept):
            continue
        began = time.perf_counter()
        kept[problem.name] = perturbed.solved(problem, solver, EVALUATIONS, range(STARTS))
        took = f"in {time.perf_counter() - began:.1f} s"
        print(
            f"{name}: {problem.family}: {problem.name}: {len(kept[problem.name])} {took}",
            file=sys.stderr,
            flush=True,
        )
        # After each, so that a run that is ended loses one problem at the most.
        path.write_text(
            _as_json(name, {family: solved[family] for family in FAMILIES if family in solved})
        )


def _as_json(name: str, solved: Solved) -> str:
    """A line for each problem."""
    problems = (
        (
            family,
            ",\n".join(
                f"{json.dumps(problem)}: {json.dumps(which)}" for problem, which in problems.items()
            ),
        )
        for family, problems in solved.items()
    )
    rows = ",\n".join(f"{json.dumps(family)}: {{\n{lines}\n}}" for family, lines in problems)
    return f'{{"name": {json.dumps(name)}, "solved": {{\n{rows}\n}}}}\n'


def _read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def table(kept: dict[str, Solved]) -> str:
    """A row for each family, then for each problem on which the solvers differ."""
    names = [name for name in (_DEFAULT, *_PEERS) if name in kept]
    families = [family for family in FAMILIES if family in kept[names[0]]]
    # A family of which a solver has run some problems only counts as one that it has not run.
    counts = {
        name: {
            family: sum(map(len, kept[name][family].values()))
            for family in families
            if _all_of(family, name, kept)
        }
        for name in names
    }
    complete = [family for family in families if all(family in counts[name] for name in names)]
    lines = [
        "# Fifty perturbed starts of each problem",
        "",
        (
            "Written by `python -m benchmarks.starts`. How many starts end within 1e-5 of "
            "the least known sum of squares in at most"
        ),
        (
            f"{EVALUATIONS} evaluations of the residuals, whatever the solver says of itself. "
            "Each parameter of a start is multiplied by 2ᶻ, z"
        ),
        (
            "normal; NIST's problems have 25 around each of their starts. The JSON files "
            "name the starts that were solved."
        ),
        "",
        f"| | starts | {' | '.join(names)} |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for family in families:
        number = STARTS * len(kept[names[0]][family])
        lines.append(
            f"| {family} | {number} | "
            f"{' | '.join(str(counts[name].get(family, '–')) for name in names)} |"
        )
    total = STARTS * sum(len(kept[names[0]][family]) for family in complete)
    sums = (str(sum(counts[name][family] for family in complete)) for name in names)
    lines += [
        f"| all that all have run | {total} | {' | '.join(sums)} |",
        "",
        "Where they differ:",
        "",
    ]
    lines += [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for family in families:
        for problem in kept[names[0]][family]:
            which = [kept[name].get(family, {}).get(problem) for name in names]
            row = ["–" if solved is None else str(len(solved)) for solved in which]
            if len(set(row) - {"–"}) > 1:
                lines.append(f"| {family}: {problem} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _all_of(family: str, name: str, kept: dict[str, Solved]) -> bool:
    """Whether this solver has run all the problems of a family that lmjax has."""
    return set(kept[_DEFAULT][family]) <= set(kept[name].get(family, {}))


if __name__ == "__main__":
    main()
