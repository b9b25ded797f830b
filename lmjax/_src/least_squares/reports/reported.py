"""What a solution says of itself, beside its statistics."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import numpy as np

from lmjax._src.least_squares import statistics
from lmjax._src.least_squares.reports.html import html_of, preformatted
from lmjax._src.least_squares.reports.loaded import LoadedSolution
from lmjax._src.least_squares.reports.loading import loaded
from lmjax._src.least_squares.reports.names import array_names
from lmjax._src.least_squares.reports.origin import Origin
from lmjax._src.least_squares.reports.saved import saved
from lmjax._src.least_squares.reports.summary import (
    MAX_ENTRIES,
    MAX_PARAMETERS,
    Facts,
    summary_of,
)
from lmjax._src.least_squares.reports.text import text_of
from lmjax._src.least_squares.statistics import Details
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.status import Status, is_success
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import precision
from lmjax._src.typing import Params, PyTree, Scalar, TreeFn


class _Fit(Protocol):
    """What :class:`Reported` needs of a solution."""

    params: Params
    cost: Scalar
    status_code: Scalar
    num_steps: Scalar
    num_evaluations: Scalar
    linear_solver: str
    geodesic_acceleration: bool
    _flat: Any
    _objective: ResidualObjective
    _bounds: Bounds | None
    _origin: Origin

    @property
    def status(self) -> Status: ...

    def _compute(self, statistic: TreeFn, **options: Any) -> PyTree: ...

    def _check_single(self, name: str, instead: str) -> None: ...


class Reported:
    """The part of :class:`lmjax.Solution` that reports."""

    @property
    def success(self: _Fit) -> Any:
        """Whether the run ended at a stationary point: a bool; an array of them in a batch, or
        while it is traced.
        """
        if precision.is_traced(self.status_code) or np.ndim(self.status_code):
            return is_success(self.status_code)
        return self.status.success

    @property
    def message(self: _Fit) -> str:
        """The reason for which the run stopped, as a sentence, with what to do about it."""
        return self.status.message

    @property
    def nfev(self: _Fit) -> Scalar:
        """SciPy's name of :attr:`num_evaluations`."""
        return self.num_evaluations

    def correlation(self: _Fit) -> PyTree:
        """The correlation of the errors of the flattened parameters, shape (P, P).

        The covariance over the products of the standard errors, from the same factorisation. One on
        the diagonal; zero beside it for parameters that are fixed or rest on a bound; NaN where the
        data do not determine the parameters.

        Returns:
            A matrix (P, P) of the parameters' dtype.

        Raises:
            ValueError: this is a batch of solutions, as ``vmap`` returns it.
        """
        return self._compute(statistics.correlation)

    def summary(self: _Fit, absolute_sigma: bool | None = None) -> dict[str, Any]:
        """The report that ``print(solution)`` shows, as plain Python values.

        - ``success``, ``status`` (a name), ``message``, ``num_steps``, ``num_evaluations``,
          ``linear_solver``, ``geodesic_acceleration``, and ``loss``: the name of a robust one, or
          None;
        - ``num_residuals`` (N, without those of weight zero), ``num_params``, ``num_varying`` (P,
          without those that are fixed or rest on a bound) and ``degrees_of_freedom`` (N - P);
        - ``cost``, ``chi_square`` (2 cost, the weighted sum of squares), ``reduced_chi_square``
          (over N - P), ``aic`` = N ln(χ²/N) + 2 P, ``bic`` = N ln(χ²/N) + ln(N) P, as lmfit
          documents them (H. Akaike, 1974; G. Schwarz, 1978), also with ``absolute_sigma``; and
          ``r_squared`` = 1 - χ² over the weighted sum of squares of the data about their weighted
          mean, of :func:`lmjax.curve_fit` alone, which knows the data. None where there is none;
        - ``condition``, as :meth:`condition` has it, infinite where something is undetermined;
        - ``parameters``, dicts with ``name``, ``value``, ``standard_error`` (None if it does not
          vary), ``percent``, ``start``, ``state`` ("free", "fixed", "at its lower bound", "at its
          upper bound") and ``is_undetermined``;
        - ``undetermined``, dicts for directions along which no residual changes to first order:
          ``moves``, pairs of names and amounts, and ``has_influence``, False for a parameter on
          which no residual depends at all;
        - ``correlations`` above 0.1 in absolute value, as [name, name, value], the largest first;
        - ``notes``, sentences; ``absolute_sigma``.

        At most 1 000 entries of each list, and how many more there are as ``parameters_left_out``
        and so on. Beyond 1 000 parameters, or 2²⁵ entries of the Jacobian, nothing is computed that
        needs it, which a note says.

        Args:
            absolute_sigma: whether the residuals are in units of their known standard deviations;
                None for what :func:`lmjax.curve_fit` was told, and else False.

        Returns:
            A new dictionary.

        Raises:
            ValueError: this is a batch of solutions, as ``vmap`` returns it.
            TypeError: it is being traced.
        """
        facts, _ = _facts(self, absolute_sigma)
        return summary_of(facts)

    def to_json(self: _Fit, absolute_sigma: bool | None = None) -> str:
        """The solution as text: parameters, bit for bit, standard errors, correlations (of up to
        300 parameters) and :meth:`summary`.

        Args:
            absolute_sigma: as for :meth:`summary`.

        Returns:
            JSON, which :meth:`from_json` reads.

        Raises:
            ValueError: there are more than a million parameters, or this is a batch of solutions.
            TypeError: it is being traced.
        """
        facts, details = _facts(self, absolute_sigma)
        return saved(
            self.params,
            summary_of(facts),
            None if details is None else details.errors,
            None if details is None else details.correlation,
            array_names(facts.structure),
        )

    @staticmethod
    def from_json(text: str, like: PyTree = None) -> LoadedSolution:
        """What :meth:`to_json` has written, read back; nothing in the text is executed.

        The loaded solution has ``params``, ``status``, ``success``, ``message``, all numbers of
        :meth:`summary` by name (``cost``, ``num_steps``, ``aic``, …), ``summary()``,
        ``standard_errors()``, ``covariance()``, ``correlation()``, ``degrees_of_freedom()``,
        ``condition()`` and ``to_json()``, with the ``absolute_sigma`` of the time of saving, and
        prints the same report. It has no residual function and no data, and so none of
        ``residuals``, ``predict_interval``, ``confidence_intervals`` or other methods that ask
        these; fit again from its ``params`` for them. It is no pytree.

        Args:
            text: what :meth:`to_json` returned.
            like: a tree with arrays of the same shapes, whose structure ``params`` get. Without it
                dicts with text as keys, lists, tuples and None come back as they were, and of any
                other structure a dict from the arrays' names to them.

        Returns:
            The loaded solution.

        Raises:
            TypeError: ``text`` is no text.
            ValueError: it is not what :meth:`to_json` writes, is longer than 2²⁶ characters, or
                ``like`` has other shapes.
        """
        return loaded(text, like)

    def __str__(self: _Fit) -> str:
        """The report; a line where the solution is traced or a batch."""
        words = _without_report(self)
        return text_of(summary_of(_facts(self, None)[0])) if words is None else words

    def _repr_html_(self: _Fit) -> str:
        words = _without_report(self)
        return html_of(summary_of(_facts(self, None)[0])) if words is None else preformatted(words)


def _without_report(fit: _Fit) -> str | None:
    """What to say of a solution that has no report."""
    if precision.is_traced(fit):
        return "lmjax.Solution inside of jit, vmap or grad, whose values are not known yet"
    if np.ndim(fit.status_code):
        codes = np.asarray(fit.status_code)
        return (
            f"a batch of lmjax.Solution, of shape {codes.shape}, of which "
            f"{int(np.sum(is_success(codes)))} of {codes.size} succeeded; "
            "jax.tree.map(lambda leaf: leaf[0], solution) is the first"
        )
    return None


def _facts(fit: _Fit, absolute_sigma: bool | None) -> tuple[Facts, Details | None]:
    """(what the report is made of, its details)."""
    fit._check_single("summary", "jax.tree.map(lambda leaf: leaf[0], solution).summary()")
    if precision.is_traced(fit):
        raise TypeError(
            "summary: expected a solution whose values are known, got one that is being traced; "
            "return it from jit, vmap or grad and call summary there"
        )
    objective, origin, bounds = fit._objective, fit._origin, fit._bounds
    absolute = origin.absolute_sigma if absolute_sigma is None else bool(absolute_sigma)
    with precision.scope(fit._flat.dtype):
        flat = np.asarray(fit._flat)
        if origin.start is not None:
            origin = dataclasses.replace(origin, start=np.asarray(origin.start))
        informative = int(objective.num_informative(fit._flat))
        number = objective.num_residuals(fit._flat)
    details = None
    if flat.size <= MAX_PARAMETERS and flat.size * number <= MAX_ENTRIES:
        details = jax.tree.map(
            np.asarray, fit._compute(statistics.details, absolute_sigma=absolute)
        )
    status = fit.status
    head = {
        "success": status.success,
        "status": status.name,
        "message": status.message,
        "num_steps": int(fit.num_steps),
        "num_evaluations": int(fit.num_evaluations),
        "linear_solver": fit.linear_solver,
        "geodesic_acceleration": bool(fit.geodesic_acceleration),
    }
    facts = Facts(
        head,
        objective.structure,
        flat,
        None if bounds is None else np.asarray(bounds.lower),
        None if bounds is None else np.asarray(bounds.upper),
        origin,
        float(fit.cost),
        None if objective.loss is None else type(objective.loss).__name__,
        informative,
        absolute,
        details,
    )
    return facts, details
