"""The answer of a least-squares problem, and the statistics that belong to it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh

from lmjax._src.arrays import arguments
from lmjax._src.arrays.interval import Interval
from lmjax._src.arrays.structure import unflatten_returned
from lmjax._src.arrays.vectors import Vector
from lmjax._src.least_squares import statistics
from lmjax._src.least_squares.reports.origin import Origin
from lmjax._src.least_squares.reports.reported import Reported
from lmjax._src.least_squares.second_runs import Outcome
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import meshes, precision
from lmjax._src.runtime.explanations import explain
from lmjax._src.typing import Params, PyTree, Scalar, TreeFn


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution(Reported):
    """What :func:`lmjax.least_squares` found. A pytree, so that it can leave a function under
    ``jit`` or ``vmap``. ``print(solution)`` is a report; see :meth:`summary`.

    Attributes:
        params: the best parameters, structured and shaped as they were given.
        cost: ½‖r‖² there.
        status_code: the integer code of :attr:`status`; an array of codes under ``vmap``.
        num_steps: accepted steps.
        num_evaluations: evaluations of the residuals, those inside a linearization counted once.
        linear_solver: the name of the linear solver, which says what :class:`~lmjax.Auto` has
            chosen.
        geodesic_acceleration: whether steps were bent; not where that was switched off, where the
            residuals have reverse mode only, or where a Jacobian of the caller's has no
            derivatives.

    Example:
        A straight line through four points.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.1, 2.9, 5.1, 6.9])
        >>> line = lambda p, x: p[0] * x + p[1]
        >>> solution = lmjax.least_squares(lambda p: line(p, x) - y, np.zeros(2))
        >>> solution.params.round(3).tolist(), solution.status.success
        ([1.96, 1.06], True)
        >>> solution.standard_errors().round(3).tolist(), solution.degrees_of_freedom()
        ([0.057, 0.106], 2)
        >>> report = solution.summary()
        >>> round(report["reduced_chi_square"], 3), report["undetermined"]
        (0.016, [])
        >>> lmjax.Solution.from_json(solution.to_json()).params.round(3).tolist()
        [1.96, 1.06]
        >>> lower, upper = solution.confidence_intervals(level=0.95)
        >>> lower.round(2).tolist(), upper.round(2).tolist()
        ([1.72, 0.6], [2.2, 1.52])
        >>> band = solution.predict_interval(line, (np.array([4.0]),))
        >>> bool(band.lower[0] < line(solution.params, 4.0) < band.upper[0])
        True
    """

    params: Params
    cost: Scalar
    status_code: Scalar
    num_steps: Scalar
    num_evaluations: Scalar
    linear_solver: str = dataclasses.field(metadata={"static": True})
    geodesic_acceleration: bool = dataclasses.field(metadata={"static": True})
    _flat: Vector = dataclasses.field(repr=False)
    _objective: ResidualObjective = dataclasses.field(repr=False)
    _bounds: Bounds | None = dataclasses.field(repr=False)
    _origin: Origin = dataclasses.field(default=Origin(), repr=False)

    @property
    def status(self) -> Status:
        """Why the run stopped; ``.success`` and ``.message``. Outside ``jit`` and for one problem
        only.
        """
        if precision.is_traced(self.status_code):
            raise TypeError(
                "status: inside of jit and vmap its value is not known; compare "
                "status_code, as with int(lmjax.Status.GRADIENT)"
            )
        self._check_single("status", "[lmjax.Status(int(code)) for code in solution.status_code]")
        return Status(int(self.status_code))

    def covariance(self, absolute_sigma: bool = False) -> PyTree:
        """The covariance of the flattened parameters, shape (P, P), in units of params × params.

        s² (JᵀJ)⁻¹ with s² = ‖r‖² / (m - P) for m residuals (G. A. F. Seber, C. J. Wild, "Nonlinear
        Regression", 1989, ch. 2), from the QR factorisation of J with its columns scaled to length
        one, so that JᵀJ, which would square the condition number, is never formed. Parameters that
        rest on a bound count as fixed: their rows and columns are zero. All entries are infinite
        where the data do not determine the parameters: m ≤ P, or J without full rank in the
        precision at hand.

        Args:
            absolute_sigma: whether the residuals are in units of their known standard deviations;
                s² is then one.

        Returns:
            A matrix (P, P) of the parameters' dtype.

        Raises:
            ValueError: this is a batch of solutions, as ``vmap`` returns it.
        """
        return self._compute(statistics.covariance, absolute_sigma=bool(absolute_sigma))

    def standard_errors(self, absolute_sigma: bool = False) -> PyTree:
        """The square roots of the covariance's diagonal, in units of the parameters.

        Args:
            absolute_sigma: as for :meth:`covariance`.

        Returns:
            A pytree structured and shaped as ``params``.

        Raises:
            ValueError: this is a batch of solutions, as ``vmap`` returns it.
        """
        return self._compute(statistics.standard_errors, absolute_sigma=bool(absolute_sigma))

    def confidence_intervals(self, level: float = 0.95, absolute_sigma: bool = False) -> Interval:
        """An interval for each parameter that covers the true one with probability ``level``, to
        first order.

        params ± t · standard error, with the quantile t of Student's distribution of
        :meth:`degrees_of_freedom`; of the normal distribution with ``absolute_sigma``. Cut off at
        the bounds; of width zero where a parameter rests on one, infinite where the data do not
        determine it.

        Args:
            level: the probability, between 0 and 1.
            absolute_sigma: as for :meth:`covariance`.

        Returns:
            (lower, upper), each structured and shaped as ``params``.

        Raises:
            ValueError: ``level`` is no probability, or this is a batch of solutions.
        """
        return self._compute(
            statistics.confidence_intervals,
            absolute_sigma=bool(absolute_sigma),
            level=self._level(level),
        )

    def predict_interval(
        self,
        function: TreeFn,
        args: tuple[PyTree, ...] = (),
        level: float = 0.95,
        *,
        kind: Literal["prediction", "confidence"] = "prediction",
        sigma: PyTree = 1.0,
        absolute_sigma: bool = False,
    ) -> Interval:
        """Bands around ``function(params, *args)``, by linear propagation of the covariance (the
        delta method).

        Args:
            function: maps (params, *args) to predictions: an array or a pytree of arrays.
            args: the new data, a tuple of arrays or pytrees.
            level: the probability with which each interval covers its value, taken by itself.
            kind: "prediction" for a new measurement, noise included; "confidence" for the curve
                alone.
            sigma: the standard deviation of a new measurement, in the units in which the fit's
                residuals have standard deviation one, or s where that is estimated: a number, or an
                array like the predictions.
            absolute_sigma: whether the residuals are in units of their known standard deviations.

        Returns:
            (lower, upper), each structured and shaped as the predictions; infinite where the data
            do not determine the parameters.

        Raises:
            TypeError: ``args`` is no tuple, or ``function`` cannot be traced.
            ValueError: ``kind`` or ``level`` is none, or this is a batch of solutions.
        """
        if kind not in ("prediction", "confidence"):
            raise ValueError(f"kind: expected 'prediction' or 'confidence', got {kind!r}")
        if not isinstance(args, tuple):
            raise TypeError(
                f"args: expected a tuple of further arguments, got {type(args).__name__}; "
                "for one argument write args=(data,)"
            )
        dtype = self._flat.dtype
        return self._compute(
            statistics.predict_interval,
            absolute_sigma=bool(absolute_sigma),
            function=arguments.as_pytree_callable(function, "function"),
            args=arguments.as_dtype(args, dtype),
            level=self._level(level),
            sigma=arguments.as_dtype(sigma if kind == "prediction" else 0.0, dtype),
        )

    def degrees_of_freedom(self) -> Scalar:
        """m - P for m residuals; P counts the parameters that do not rest on a bound.

        Returns:
            A whole number, which may be negative.
        """
        return self._scalar(self._compute(statistics.degrees_of_freedom), int)

    def condition(self) -> Scalar:
        """The condition number of the Jacobian, its columns scaled to length one; infinite without
        full rank.

        About its logarithm to base 10 is the number of digits that the parameters lose; above 10⁴
        or so, some combination of them is hardly determined. Parameters that rest on a bound do not
        count.

        Returns:
            A number of at least 1.
        """
        return self._scalar(self._compute(statistics.condition), float)

    def residuals(self) -> PyTree:
        """The residuals at ``params``.

        Returns:
            A pytree structured and shaped as the residual function returns it.
        """
        return self._compute(statistics.residuals)

    def _check_single(self, name: str, instead: str) -> None:
        if np.ndim(self.status_code):
            shape = np.shape(self.status_code)
            raise ValueError(
                f"{name}: this is a batch of solutions, of shape {shape}, as vmap returns "
                f"it; use {instead}"
            )

    def _compute(self, statistic: TreeFn, **options: Any) -> PyTree:
        name = statistic.__name__
        self._check_single(name, f"jax.vmap(lambda one: one.{name}())(solution)")
        try:
            if precision.is_traced((self, options)):
                with precision.usual():
                    return statistic(self._objective, self._bounds, self._flat, **options)
            with precision.scope(self._flat.dtype):
                result = statistic(self._objective, self._bounds, self._flat, **options)
        except Exception as error:
            explain(error, name)
            raise
        return meshes.returned(
            arguments.returned(result, self._flat.dtype), meshes.explicit_mesh(self.params)
        )

    def _scalar(self, value: Scalar, kind: type) -> Scalar:
        return value if precision.is_traced(value) else kind(value)

    def _level(self, level: Scalar) -> Scalar:
        if not precision.is_traced(level) and not 0 < level < 1:
            raise ValueError(
                f"level: expected a probability between 0 and 1, got {level!r}; 0.95 for "
                "95 per cent"
            )
        return (
            jnp.asarray(level, self._flat.dtype)
            if precision.is_traced(level)
            else np.asarray(level, self._flat.dtype)
        )


def solution_of(
    objective: ResidualObjective,
    bounds: Bounds | None,
    outcome: Outcome,
    mesh: AbstractMesh | None = None,
    start: Vector | None = None,
) -> Solution:
    """What a caller gets of a run from ``start`` (P,), on axes of the ``mesh``."""
    state, flat = outcome.state, outcome.params
    return Solution(
        params=unflatten_returned(objective.structure, flat, mesh),
        cost=arguments.returned(state.cost, flat.dtype),
        status_code=outcome.status,
        num_steps=state.num_steps,
        num_evaluations=state.num_evaluations,
        linear_solver=outcome.chosen.name,
        geodesic_acceleration=outcome.chosen.geodesic_acceleration,
        _flat=flat,
        _objective=objective,
        _bounds=bounds,
        _origin=Origin(start),
    )
