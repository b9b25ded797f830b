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
from lmjax._src.least_squares.intervals.bootstrap import bootstrap
from lmjax._src.least_squares.intervals.bootstrapped import Bootstrap
from lmjax._src.least_squares.intervals.contour import Contour, contour, index_of
from lmjax._src.least_squares.intervals.profile import profile_intervals
from lmjax._src.least_squares.reports.origin import Origin
from lmjax._src.least_squares.reports.reported import Reported
from lmjax._src.least_squares.second_runs import Outcome
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.effects import check_effect
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import meshes, precision
from lmjax._src.runtime.explanations import explain
from lmjax._src.typing import Key, Params, PyTree, Scalar, TreeFn


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

    def profile_intervals(
        self,
        level: float = 0.95,
        absolute_sigma: bool = False,
        *,
        solver: LevenbergMarquardt | None = None,
    ) -> Interval:
        """An interval for each parameter from the profile of the cost: the likelihood ratio's
        interval, which is as lopsided as the data make it, in any units of the parameters.

        The ends are where the least cost over all other parameters is ½ s² F above that of the
        solution, with F the quantile of Fisher's distribution of 1 and
        :meth:`degrees_of_freedom`; with ``absolute_sigma``, ½ χ² of one. In a linear model they are
        those of :meth:`confidence_intervals`. All ends are found in one batch of fits, and a second
        call with the same shapes compiles nothing. Sources: D. M. Bates, D. G. Watts, "Nonlinear
        Regression Analysis and its Applications", 1988, chapter 6; W. N. Venables, B. D. Ripley,
        "Modern Applied Statistics with S", 2002, section 8.4.

        An end is the bound where the cost has not risen so far there, infinite where it has not at
        10⁸ times the distance that the Jacobian promises (10⁵ in float32), and where the residuals
        cease to be finite before. Fixed parameters have intervals of width zero; one that rests
        on a bound may leave it.

        Args:
            level: the probability, between 0 and 1.
            absolute_sigma: as for :meth:`covariance`.
            solver: the options of the fits; the defaults when None.

        Returns:
            (lower, upper), each structured and shaped as ``params``.

        Warns:
            ConvergenceWarning: a fit has found a lower cost than the solution's, and where; or fits
                beyond an end have found no minimum.

        Raises:
            TypeError: this is being traced: the search is on the host.
            ValueError: ``level`` is no probability, the cost is not finite, or this is a batch of
                solutions.

        Example:
            The rate of a decay: there is more room above than below.

            >>> import jax.numpy as jnp
            >>> import numpy as np
            >>> import lmjax
            >>> x = np.linspace(0, 4, 9)
            >>> y = np.array([2.1, 1.1, 0.7, 0.3, 0.1, 0.2, 0.0, 0.1, -0.1])
            >>> decay = lambda p: p["height"] * jnp.exp(-p["rate"] * x) - y
            >>> solution = lmjax.least_squares(decay, {"height": 1.0, "rate": 1.0})
            >>> round(float(solution.params["rate"]), 3)
            1.223
            >>> lower, upper = solution.profile_intervals()
            >>> round(float(lower["rate"]), 3), round(float(upper["rate"]), 3)
            (1.038, 1.447)
        """
        found = self._search(
            profile_intervals,
            solver,
            level=self._level(level),
            absolute_sigma=bool(absolute_sigma),
        )
        return self._returned(found)

    def bootstrap(
        self,
        key: Key | int,
        n: int = 1000,
        kind: Literal["residuals", "cases"] = "residuals",
        *,
        solver: LevenbergMarquardt | None = None,
    ) -> Bootstrap:
        """Fits to ``n`` data sets that are drawn again from this one, all in a few batches, each
        from the solution on.

        Sources: A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997,
        chapter 6; their algorithms 6.1 and 6.2. The same key gives the same fits.

        Args:
            key: a JAX random key, or an integer that seeds one.
            n: how many.
            kind: "residuals" keeps the design: to the model's values at the solution it adds
                residuals that are drawn with replacement from the weighted ones, each divided by
                √(1 - h) for its leverage h, so that all have the variance of the noise, and
                centred; all are taken to be of one distribution. "cases" draws the entries along
                the first axis of the residuals with replacement, which needs no such assumption;
                arrays of residuals with as many entries are drawn together, others each by itself.
                Residuals of weight zero are not drawn.
            solver: the options of the fits; the defaults when None.

        Returns:
            The fits, with ``.params``, ``.interval(level)``, ``.standard_errors()`` and
            ``.num_failed``.

        Warns:
            ConvergenceWarning: more than a twentieth of the fits have found no minimum.

        Raises:
            TypeError: this is being traced.
            ValueError: ``n`` or ``kind`` is none, or this is a batch of solutions.
        """
        if kind not in ("residuals", "cases"):
            raise ValueError(f"kind: expected 'residuals' or 'cases', got {kind!r}")
        n = arguments.whole_number(n, "n", 1)
        found: Bootstrap = self._search(bootstrap, solver, key=key, n=n, kind=kind)
        return found

    def contour(
        self,
        first: int | str,
        second: int | str,
        level: float = 0.95,
        num: int = 41,
        *,
        absolute_sigma: bool = False,
        solver: LevenbergMarquardt | None = None,
    ) -> Contour:
        """The joint confidence region of two parameters, on a grid of fits of all others.

        A point is in the region of a level where the least cost over the other parameters is s² F
        above that of the solution, with F the quantile of Fisher's distribution of 2 and
        :meth:`degrees_of_freedom`; with ``absolute_sigma``, ½ χ² of two. Sources: as of
        :meth:`profile_intervals`.

        Args:
            first: one parameter: its index among the flattened ones, or its name, as "rate" or
                "['peaks'][2]".
            second: another one.
            level: that of the region around which the grid is laid; it shows those of lower levels,
                too.
            num: points of the grid along each axis.
            absolute_sigma: as for :meth:`covariance`.
            solver: the options of the fits; the defaults when None.

        Returns:
            The grid, with the level of the region on whose edge each point lies.

        Warns:
            ConvergenceWarning: as :meth:`profile_intervals`.

        Raises:
            TypeError: this is being traced.
            ValueError: there is no such parameter, it is fixed, both are the same, nothing is known
                of the noise, ``level`` or ``num`` is none, or this is a batch of solutions.
        """
        structure = self._objective.structure
        pair = index_of(structure, first, "first"), index_of(structure, second, "second")
        if pair[0] == pair[1]:
            raise ValueError(f"first, second: expected two parameters, got {first!r} twice")
        found: Contour = self._search(
            contour,
            solver,
            pair=pair,
            level=self._level(level),
            num=arguments.whole_number(num, "num", 2),
            absolute_sigma=bool(absolute_sigma),
        )
        return found

    def _search(self, search: TreeFn, solver: LevenbergMarquardt | None, **options: Any) -> Any:
        """What further fits say, which the host begins; as :meth:`_compute` else."""
        name = search.__name__
        self._check_single(name, f"jax.tree.map(lambda leaf: leaf[k], solution).{name}()")
        if precision.is_traced((self, options)):
            raise TypeError(
                f"{name}: cannot be traced, since further fits depend on the ends of others; call "
                "it outside of jit and vmap"
            )
        objective = self._objective
        if solver is None:
            solver = LevenbergMarquardt()
        else:
            check_effect(solver, name)
            objective = dataclasses.replace(objective, jacobians=solver.jacobians)
        try:
            with precision.scope(self._flat.dtype):
                result = search(objective, self._bounds, self._flat, solver=solver, **options)
        except Exception as error:
            explain(error, name)
            raise
        return result

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
        return self._returned(result)

    def _returned(self, tree: PyTree) -> PyTree:
        return meshes.returned(
            arguments.returned(tree, self._flat.dtype), meshes.explicit_mesh(self.params)
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
