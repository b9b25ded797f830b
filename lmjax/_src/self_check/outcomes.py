"""What answers rest on, tried on the machine at hand: compiled programs, as a user's own are,
against NumPy in float64.

Compilers differ from version to version and choose instructions by the processor, so that only the
machine itself can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from lmjax._src.runtime import faults, precision
from lmjax._src.self_check.cases import Case, excess
from lmjax._src.self_check.fits import fits
from lmjax._src.self_check.recurrences import concatenations, derivatives, scans
from lmjax._src.self_check.sums import elementwise, factorisations, products, sums
from lmjax._src.typing import DType


class Outcome(NamedTuple):
    """How far a kind of computation is off, at the most."""

    name: str
    dtype: str
    error: float  #: as a multiple of what rounding explains
    where: str  #: at which size

    @property
    def is_right(self) -> bool:
        """Whether rounding explains it."""
        return self.error <= 1

    @property
    def is_known(self) -> bool:
        """Whether the version that is installed is known for it, and converted models and fits go
        round it.
        """
        return (
            self.name == faults.WORKED_AROUND
            and faults.concatenates_wrongly()
            and jax.default_backend() == "cpu"
        )


def outcomes() -> Iterator[Outcome]:
    """Runs all checks, in float32 and float64, one after the other; JAX's configuration is as
    before in between.
    """
    for name, check in _CHECKS.items():
        for dtype in (np.float32, np.float64):
            worst, where = 0.0, ""
            with precision.scope(dtype):
                for case in check(np.dtype(dtype)):
                    error = excess(case, np.dtype(dtype))
                    if error > worst:
                        worst, where = error, case.where
            yield Outcome(name, np.dtype(dtype).name, worst, where)


_CHECKS: dict[str, Callable[[DType], Iterator[Case]]] = {
    "functions of numbers": elementwise,
    "sums and norms": sums,
    faults.WORKED_AROUND: concatenations,
    "products": products,
    "scans": scans,
    "derivatives of scans": derivatives,
    "factorisations": factorisations,
    "fits": fits,
}
