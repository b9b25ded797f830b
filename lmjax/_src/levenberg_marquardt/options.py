"""The options of a run: fields, checks, and what follows from them for an objective."""

from __future__ import annotations

import dataclasses
from typing import Literal, Self

from lmjax._src.levenberg_marquardt.damping import DampingRule, Nielsen
from lmjax._src.levenberg_marquardt.scaling import RunningMaximum, Scaling
from lmjax._src.linear_solvers.auto import Auto, Chosen
from lmjax._src.linear_solvers.base import LinearSolver, LinearSolverChoice
from lmjax._src.objectives.jacobians import Jacobians
from lmjax._src.objectives.objective import Objective
from lmjax._src.runtime import contracts
from lmjax._src.typing import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a run; documented where they are public, in
    :class:`~lmjax.LevenbergMarquardt`.
    """

    damping: DampingRule = Nielsen()
    scaling: Scaling = RunningMaximum()
    linear_solver: LinearSolver | LinearSolverChoice = Auto()
    jacobian: Literal["auto", "forward", "reverse"] = "auto"
    jacobian_chunk: int | None = None
    jacobian_dtype: Literal["float32"] | None = None
    geodesic_acceleration: bool = True
    acceleration_limit: float = 1.0
    acceptance: float = 1e-4
    non_monotonic: int = 0
    halvings: int = 0
    max_steps: int = 1000
    max_attempts: int = 40
    gtol: float = 1e-12
    ftol: float = 1e-15
    xtol: float = 1e-12
    confirmation: float = 1e-9
    polish: bool = True
    second_run: bool = True
    curvature_sample: int | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        """Refuses options that no run could use."""
        if self.jacobian not in ("auto", "forward", "reverse"):
            raise ValueError(
                f"jacobian: expected 'auto', 'forward' or 'reverse', got {self.jacobian!r}"
            )
        if self.jacobian_dtype not in (None, "float32"):
            raise ValueError(
                f"jacobian_dtype: expected 'float32' or None, got {self.jacobian_dtype!r}"
            )
        for name in ("acceleration_limit", "acceptance", "gtol", "ftol", "xtol", "confirmation"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and value >= 0):
                raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")
        for name, least in (
            ("max_steps", 1),
            ("max_attempts", 1),
            ("non_monotonic", 0),
            ("halvings", 0),
            ("jacobian_chunk", 1),
        ):
            value = getattr(self, name)
            if not (value is None and name == "jacobian_chunk") and not (
                isinstance(value, int) and value >= least
            ):
                raise ValueError(
                    f"{name}: expected a whole number of at least {least}, got {value!r}"
                )
        if self.curvature_sample not in (None, "auto") and not (
            isinstance(self.curvature_sample, int) and self.curvature_sample >= 1
        ):
            raise ValueError(
                "curvature_sample: expected 'auto', None or a whole number of at least "
                f"1, got {self.curvature_sample!r}"
            )
        chooses = hasattr(self.linear_solver, "choose")
        contracts.check(self.damping, DampingRule, "damping")
        contracts.check(self.scaling, Scaling, "scaling")
        contracts.check(
            self.linear_solver,
            LinearSolverChoice if chooses else LinearSolver,
            "linear_solver",
        )

    def resolved(self, objective: Objective, params: Params) -> Self:
        """The same options with the linear solver that is chosen for this objective, where the
        option is a choice as :class:`~lmjax.Auto`.

        And without geodesic acceleration where its derivatives do not exist, or the mode is
        "reverse" only.
        """
        if self.geodesic_acceleration and (
            self.jacobian == "reverse" or objective.forward_orders(params) < 2
        ):
            return dataclasses.replace(self, geodesic_acceleration=False).resolved(
                objective, params
            )
        if not isinstance(self.linear_solver, LinearSolverChoice):
            if objective.form_bytes(params, self.linear_solver.form) is None:
                raise ValueError(
                    f"linear_solver: {self.linear_solver!r} cannot work on streamed data, "
                    "of which only JᵀJ is in memory; use Cholesky()"
                )
            return self
        return dataclasses.replace(self, linear_solver=self.linear_solver.choose(objective, params))

    @property
    def linear(self) -> LinearSolver:
        """The linear solver, once :meth:`resolved`."""
        assert not isinstance(self.linear_solver, LinearSolverChoice)
        return self.linear_solver

    @property
    def jacobians(self) -> Jacobians:
        """How the Jacobians of residual functions are computed."""
        return Jacobians(self.jacobian, self.jacobian_chunk, self.jacobian_dtype)

    @property
    def chosen(self) -> Chosen:
        """What a result says of the options, once they are :meth:`resolved`."""
        return Chosen(type(self.linear_solver).__name__, self.geodesic_acceleration)
