"""The choice of a linear solver."""

from __future__ import annotations

import dataclasses
import os

import jax

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.linear_solvers.base import LinearSolver, LinearSolverChoice
from lmjax._src.linear_solvers.cholesky import Cholesky
from lmjax._src.linear_solvers.conjugate_gradients import ConjugateGradients
from lmjax._src.linear_solvers.dual_cholesky import DualCholesky
from lmjax._src.linear_solvers.qr import QR
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.objective import Objective


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Chosen:
    """What was chosen for a run, as a pytree without leaves: so it leaves the compiled run that
    chose it.
    """

    name: str
    geodesic_acceleration: bool


#: The part of the memory that one matrix may take: beside it there are its factors, a copy that is
#: scaled, and the data.
_SHARE = 1 / 8


@dataclasses.dataclass(frozen=True)
class Auto(LinearSolverChoice):
    """Chooses the linear solver by shapes, memory and conditioning; the default. Results say what
    was chosen.

    :class:`~lmjax.DualCholesky` for fewer residuals than parameters, else :class:`~lmjax.Cholesky`,
    each if its largest matrix takes at most ``memory`` bytes; else
    :class:`~lmjax.ConjugateGradients`.

    Conditioning is known only after a run: where ``least_squares`` stops with normal equations in
    which rounding leaves hardly a digit, or has not stopped after a hundred steps with such, and
    where QR of J does not confirm its end, it goes on from there with :class:`QR` (if J takes at
    most ``memory``). Inside of ``jit`` and ``vmap``, where values are not known when a run is
    compiled, shapes and memory decide alone.

    Attributes:
        memory: the limit on one matrix, in bytes; None for an eighth of the memory of the machine,
            or of the accelerator.

    Example:
        >>> import numpy as np
        >>> import lmjax
        >>> lmjax.least_squares(lambda p: p - 1, np.zeros(3)).linear_solver
        'Cholesky'
        >>> lmjax.least_squares(lambda p: p[:1] * p[1:] - 1, np.ones(3) * 2).linear_solver
        'DualCholesky'
    """

    memory: int | None = None

    def choose(self, objective: Objective, params: Vector) -> LinearSolver:
        """See :class:`~lmjax.extend.LinearSolverChoice`."""
        budget = self._budget()
        few = objective.num_residuals(params) < vectors.size(params)
        wanted: list[LinearSolver] = [DualCholesky(), Cholesky()] if few else [Cholesky()]
        for solver in wanted:
            size = objective.form_bytes(params, solver.form)
            if size is not None and size <= budget:
                return solver
        return (
            Cholesky()
            if objective.form_bytes(params, Form.OPERATOR) is None
            else ConjugateGradients()
        )

    def choose_for_ill_conditioned(
        self, objective: Objective, params: jax.Array
    ) -> LinearSolver | None:
        """See :class:`~lmjax.extend.LinearSolverChoice`: QR, None if its matrix is too large."""
        size = objective.form_bytes(params, Form.JACOBIAN)
        return QR() if size is not None and size <= self._budget() else None

    def _budget(self) -> float:
        return matrix_budget() if self.memory is None else self.memory


def matrix_budget() -> float:
    """The bytes that one matrix may take where nobody says otherwise."""
    return _memory() * _SHARE


def _memory() -> int:
    """The bytes of the default device."""
    device = jax.local_devices()[0]
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 8 * 2**30
