"""A solution that was read from text."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, NoReturn

import jax
import numpy as np

from lmjax._src.least_squares.reports.html import html_of
from lmjax._src.least_squares.reports.saved import saved
from lmjax._src.least_squares.reports.text import text_of
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.typing import NumpyArray, Params, PyTree

#: What a :class:`Solution` does with its residual function.
_NEED_RESIDUALS = (
    "predict_interval",
    "residuals",
    "confidence_intervals",
    "profile_intervals",
    "bootstrap",
)


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedSolution:
    """What :meth:`lmjax.Solution.from_json` returns: the numbers of a solution, without its
    residual function and data.

    Attributes:
        params: the best parameters, as NumPy arrays.
    """

    params: Params
    _report: dict[str, Any] = dataclasses.field(repr=False)
    _errors: NumpyArray | None = dataclasses.field(repr=False)
    _correlation: NumpyArray | None = dataclasses.field(repr=False)

    @property
    def status(self) -> Status:
        """Why the run stopped."""
        return Status[self._report["status"]]

    @property
    def status_code(self) -> int:
        """The code of :attr:`status`."""
        return int(self.status)

    @property
    def nfev(self) -> int:
        """As :attr:`num_evaluations`."""
        return int(self._report["num_evaluations"])

    def degrees_of_freedom(self) -> int:
        """Residuals less parameters that vary."""
        return int(self._report["degrees_of_freedom"])

    def condition(self) -> float:
        """The condition number of the scaled Jacobian."""
        return float(self._kept(self._report["condition"], "condition"))

    def standard_errors(self) -> PyTree:
        """Those of the report, as ``params``."""
        errors = self._kept(self._errors, "standard_errors")
        leaves, treedef = jax.tree.flatten(self.params)
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
        pieces = zip(leaves, np.split(errors, ends), strict=True)
        return jax.tree.unflatten(treedef, [piece.reshape(leaf.shape) for leaf, piece in pieces])

    def correlation(self) -> NumpyArray:
        """The correlation of the errors, (P, P)."""
        return np.array(self._kept(self._correlation, "correlation"))

    def covariance(self) -> NumpyArray:
        """Correlations times standard errors, (P, P); infinite where the data do not determine the
        parameters.
        """
        errors = self._kept(self._errors, "covariance")
        matrix = np.outer(errors, errors) * self._kept(self._correlation, "covariance")
        return np.where(np.isinf(errors).any(), np.inf, matrix)

    def summary(self) -> dict[str, Any]:
        """The dictionary that the solution had."""
        return copy.deepcopy(self._report)

    def to_json(self) -> str:
        """The text again."""
        names = [str(k) for k in range(len(jax.tree.leaves(self.params)))]
        return saved(self.params, self._report, self._errors, self._correlation, names)

    def __str__(self) -> str:
        """The report."""
        return text_of(self._report)

    def _repr_html_(self) -> str:
        return html_of(self._report)

    def __getattr__(self, name: str) -> Any:
        """The numbers of the report, as ``cost`` and ``num_steps``."""
        report = self.__dict__.get("_report", {})
        if name in report and not name.startswith("_"):
            return report[name]
        if name in _NEED_RESIDUALS:
            raise AttributeError(
                f"{name}: a solution that was read from text has no residual function; fit again "
                "from its params"
            )
        raise AttributeError(f"a loaded solution has no {name!r}")

    def _kept(self, value: Any, name: str) -> Any:
        if value is None:
            _refuse(name)
        return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(
        f"{name}: it was not saved, since there are too many parameters; fit again from params"
    )
