"""A least-squares problem as a caller states it: checked in one place, for every entry."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import arguments
from lmjax._src.arrays.numbers import as_jax, check_captured
from lmjax._src.arrays.structure import Structure
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.bounds import (
    Bounds,
    bounds_for,
    fixed_mask,
    held,
    start_within,
)
from lmjax._src.objectives.jacobians import Jacobians
from lmjax._src.objectives.residual_functions import ResidualFn, as_residual_fn
from lmjax._src.objectives.residual_weights import root_weights
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.objectives.robust import RobustLoss, find_robust_loss
from lmjax._src.runtime import precision
from lmjax._src.typing import DType, Params, PyTree, TreeFn


class Prepared(NamedTuple):
    """What a run works on."""

    objective: ResidualObjective
    bounds: Bounds | None  #: those of fixed parameters are their start
    start: Vector  #: (P,), within the bounds


@dataclasses.dataclass(frozen=True)
class Problem:
    """The residuals, how they count, and where the parameters may lie; made by :meth:`of`.

    It stands behind ``least_squares``, ``curve_fit``, ``multi_start``, ``LevenbergMarquardt.init``
    and ``.step``, and ``lmjax.optax``, so that all of them take the same options.

    Attributes:
        residual_fn: a pytree callable of (params, *args), with the caller's Jacobian if there is
            one.
        args: as they were given; in one dtype once they are prepared.
        structure: of the parameters.
        dtype: in which a fit of them runs.
        root_weights: factors of the residuals; None for ones.
        loss: of the weighted residuals; None for squares.
        limits: (P,) each; None without bounds.
        fixed: which parameters are known, (P,); None for none of them.
    """

    residual_fn: TreeFn
    args: tuple[PyTree, ...]
    structure: Structure
    dtype: DType
    root_weights: PyTree
    loss: RobustLoss | None
    limits: Bounds | None
    fixed: PyTree

    @classmethod
    def of(
        cls,
        residual_fn: ResidualFn,
        params: Params,
        args: tuple[PyTree, ...] = (),
        *,
        jac: TreeFn | None = None,
        fixed: PyTree = None,
        weights: PyTree = None,
        sigma: PyTree = None,
        loss: str | RobustLoss = "linear",
        bounds: tuple[PyTree, PyTree] | None = None,
    ) -> Problem:
        """The problem of a caller's arguments, which are described at
        :func:`lmjax.least_squares`.

        Raises:
            TypeError, ValueError: an argument is none, or does not fit ``params``; the message
                names it.
        """
        if not isinstance(args, tuple):
            raise TypeError(
                f"args: expected a tuple of further arguments, got {type(args).__name__}; for "
                "one argument write args=(data,)"
            )
        dtype = arguments.floating_dtype(params)
        return cls(
            residual_fn=as_residual_fn(residual_fn, jac),
            args=args,
            structure=Structure.of(params),
            dtype=dtype,
            root_weights=root_weights(weights, sigma, dtype),
            loss=find_robust_loss(loss, dtype),
            limits=None if bounds is None else bounds_for(params, bounds, dtype),
            fixed=None if fixed is None else fixed_mask(params, fixed),
        )

    def is_traced_with(self, params: Params) -> bool:
        """Whether ``params`` or any part of the problem is being traced."""
        parts = self.residual_fn, self.args, self.root_weights, self.loss, self.limits, self.fixed
        return precision.is_traced((params, parts))

    def objective(self, jacobians: Jacobians) -> ResidualObjective:
        """What is minimised, of values; in the :func:`~lmjax._src.runtime.precision.scope` of
        :attr:`dtype`.

        Raises:
            TypeError, ValueError: ``args``, or what ``residual_fn`` holds, are not taken.
        """
        check_captured(self.residual_fn, "residual_fn")
        return self._objective_of(arguments.as_dtype(self.args, self.dtype), jacobians)

    def of_values(self, params: Params, jacobians: Jacobians) -> Prepared:
        """For a run from these ``params``, as :meth:`objective`."""
        bounds, start = self.start_within_bounds(params)
        return Prepared(self.objective(jacobians), bounds, start)

    def start_within_bounds(self, params: Params) -> tuple[Bounds | None, Vector]:
        """(bounds, start): of values; a start outside is told in a warning."""
        start: Vector = self.structure.flatten_concrete(params, self.dtype)
        bounds = self.bounds_from(start)
        return bounds, start if bounds is None else start_within(bounds, params, start)

    def in_trace(self, params: Params, jacobians: Jacobians) -> Prepared:
        """For a trace, or a loop of the caller's own, in the mode in which JAX is there."""
        dtype = precision.in_present_mode(self.dtype)
        start = jnp.asarray(self.structure.flatten(params), dtype)
        bounds = self.bounds_from(start)
        if bounds is not None:
            start = bounds.project(start)
        return Prepared(self._objective_of(as_jax(self.args, "args"), jacobians), bounds, start)

    def bounds_from(self, start: jax.Array) -> Bounds | None:
        """The bounds of a run from ``start`` (P,), where fixed parameters stay."""
        return self.limits if self.fixed is None else held(self.limits, self.fixed, start)

    def _objective_of(self, args: tuple[PyTree, ...], jacobians: Jacobians) -> ResidualObjective:
        return ResidualObjective(
            args, self.residual_fn, self.structure, jacobians, self.root_weights, self.loss
        )
