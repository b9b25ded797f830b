"""What ``verbose`` prints: the columns of SciPy's ``least_squares``."""

from __future__ import annotations

from lmjax._src.least_squares.watching.progress import Progress
from lmjax._src.levenberg_marquardt.status import Status

_TITLES = ("Iteration", "Total nfev", "Cost", "Cost reduction", "Step norm", "Optimality")
_WIDTH = 15


def print_start(run: int, cost: float) -> None:
    """The head, and the start; ``run`` counts the runs of one call from one."""
    if run > 1:
        _print("Once more from the start, by another path:")
    _print("".join(f"{title:^{_WIDTH}}" for title in _TITLES))
    _print(f"{0:^{_WIDTH}}{'':^{_WIDTH}}{cost:^{_WIDTH}.4e}")


def print_step(progress: Progress) -> None:
    """One line."""
    _print(
        f"{progress.nit:^{_WIDTH}}{progress.nfev:^{_WIDTH}}{progress.cost:^{_WIDTH}.4e}"
        f"{progress.reduction:^{_WIDTH}.2e}{progress.step_norm:^{_WIDTH}.2e}"
        f"{progress.optimality:^{_WIDTH}.2e}"
    )


def print_end(status: Status, steps: int, evaluations: int, cost: float, seconds: float) -> None:
    """Why it has ended, and where."""
    _print(status.message)
    _print(f"{steps} steps, {evaluations} evaluations, final cost {cost:.4e}, {seconds:.3g} s")


def _print(line: str) -> None:
    print(line.rstrip(), flush=True)
