"""Stepping by hand, and until a run stops."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Literal  # noqa: F401 - see below

import jax
import jax.numpy as jnp

from lmjax._src.arrays.numbers import as_jax
from lmjax._src.levenberg_marquardt import step
from lmjax._src.levenberg_marquardt.bounds import Bounds

# ``typing.get_type_hints`` looks here for the types of the fields that are inherited.
from lmjax._src.levenberg_marquardt.damping import DampingRule  # noqa: F401
from lmjax._src.levenberg_marquardt.effects import check_effect
from lmjax._src.levenberg_marquardt.options import Options
from lmjax._src.levenberg_marquardt.problem import Problem
from lmjax._src.levenberg_marquardt.scaling import Scaling  # noqa: F401
from lmjax._src.levenberg_marquardt.state import State, initial_state
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.linear_solvers.base import LinearSolver, LinearSolverChoice  # noqa: F401
from lmjax._src.objectives.objective import Objective
from lmjax._src.objectives.residual_functions import ResidualFn
from lmjax._src.objectives.robust import RobustLoss
from lmjax._src.runtime import batched_loop, control_flow, faults, precision
from lmjax._src.runtime.batched_loop import Loop
from lmjax._src.typing import Params, PyTree, TreeFn

#: Up to this many entries of J a linearization costs less than the loop that would spare it after a
#: rejection, in time and in compilation.
_SMALL = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt(Options):
    """Options of the Levenberg-Marquardt solver.

    The defaults are those that won on the NIST problems and on network fits; each can be changed by
    itself.

    Attributes:
        damping: the rule for λ: :class:`~lmjax.Nielsen`, :class:`~lmjax.Multiplicative`
            (Marquardt's, or delayed gratification) or :class:`~lmjax.TrustRegion` (Moré's).
        scaling: the diagonal D of the damping term: :class:`~lmjax.RunningMaximum` (Moré, fading),
            :class:`~lmjax.JacobianDiagonal` (Marquardt) or :class:`~lmjax.IdentityScaling`
            (Levenberg).
        linear_solver: how (JᵀJ + λD) step = -Jᵀr is solved: by :class:`~lmjax.Cholesky`,
            :class:`~lmjax.QR`, :class:`~lmjax.DualCholesky` or :class:`~lmjax.ConjugateGradients`,
            which :class:`~lmjax.Auto` chooses from.
        jacobian: forward or reverse mode, or the cheaper of the two by shapes and operations, or
            the one that the function has: those with ``jax.custom_vjp`` (odeint, diffrax' default)
            have reverse mode only. With reverse mode there is no acceleration.
        jacobian_chunk: how many columns (rows in reverse mode) of J are computed at once; None for
            as many as 128 MiB hold.
        jacobian_dtype: "float32" for mixed precision in a fit of float64 parameters: derivatives in
            single precision, residuals, gradient, factorisation, final phase and statistics in
            double. Neither is for ``lmjax.fit``.
        geodesic_acceleration: whether a step is bent along the second directional derivative of the
            residuals (Transtrum and Sethna, arXiv:1201.5885). Helps in narrow curved valleys; costs
            two nested ``jvp`` a trial. Left out where the function has no two derivatives in
            forward mode; a :class:`~lmjax.Solution` says whether it was.
        acceleration_limit: a step follows its path t v + ½t² a only to where 2‖ta‖/‖v‖ is this:
            beyond, the path bends too much for the model to be trusted, and parameters run off to a
            plateau. A step that was cut short raises λ. (There it is rejected, and the limit is
            0.75: as many problems solved, in an eighth more trials.)
        acceptance: the smallest gain ratio of an accepted step; 1e-4 as in MINPACK.
        non_monotonic: at how many of the last points the highest cost is what a step has to lower;
            0 for the last point alone. The solution is the best point of all. Not for
            ``lmjax.fit``.
        halvings: how often a step that gains less than half of what the model promises is halved,
            as long as its parts show that the function has kinks, before λ is raised. 8 in
            ``lmjax.fit``, since most networks have such activations; 0, here, for none. Costs
            nothing where no operation has kinks (tanh, sigmoid), and else each poor step an
            evaluation and two nested ``jvp``. Not with :class:`~lmjax.TrustRegion`, bounds,
            streamed data or batches.
        max_steps: the limit on accepted steps.
        max_attempts: the limit on dampings tried in one step.
        gtol: stop when the |cos| between residuals and every Jacobian column is at most this.
        ftol: stop when actual and predicted reduction are at most this fraction of the cost, in an
            accepted step.
        xtol: stop when an accepted step is at most this fraction of the parameters, both in the
            norm of D.
        polish: whether ``least_squares`` ends a successful run of at most 256 parameters with
            undamped Gauss-Newton steps by QR, which take the parameters from half of the digits of
            the precision to nearly all. And, where it is not traced, one that no damping brings
            further by Newton steps with the full Hessian, which find the minimum where J is
            singular there (two exponentials that became one), and tell it from a point where the
            run is stuck.
        second_run: whether ``least_squares``, where it is not traced, takes a run of at most 256
            parameters that ended without a minimum, or with one that only :class:`~lmjax.QR` could
            see, again from its start, as MINPACK goes from there (a trust region, Moré's scaling,
            straight steps), and returns the better of the two, with its steps and the evaluations
            of both. A run of at most 100 parameters whose second hundred steps lower the cost by
            less than a tenth stops there for the second one, and goes on only where that finds no
            minimum below all that the first would come to at this rate. Each run may take
            ``max_steps``; one that reached them is not taken again unless it crept.
        curvature_sample: how many residuals for each parameter, of random rows, JᵀJ and the
            acceleration of a step of ``lmjax.fit`` come from, for as long as that lowers the loss
            by a hundredth an epoch. The loss, its gradient and the decision on a step come from all
            rows even then, and so do the last steps of a fit and its status. None for all rows in
            every step, as the textbooks have it. "auto": 16 where that is at most a tenth of the
            rows and JᵀJ of all takes milliseconds. On sinc(10x), 20 000 rows, 61 parameters,
            float64, a step then takes 1.1 instead of 5.9 ms and gains as much; on six other data
            sets (eight inputs, noise, rare categories, two classes) the way to within a tenth of
            the final loss, in orders of magnitude, took a half to a seventh of the time of full
            steps, but for the classes, where the starts decided. Of streamed data too, where the
            rows of the sample take at most 128 MiB; a step then reads the data once, not three
            times. Sources: R. H. Byrd, G. M. Chin, W. Neveitt, J. Nocedal, "On the use of
            stochastic Hessian information in optimization methods for machine learning", SIAM J.
            Optim. 21, 2011; M. P. Friedlander, M. Schmidt, "Hybrid deterministic-stochastic methods
            for data fitting", SIAM J. Sci. Comput. 34, 2012.
        confirmation: a stop by ``ftol`` or ``xtol`` counts only if the model without damping
            promises a reduction of at most this fraction of the cost, so that short steps under
            heavy damping are no convergence.

    Raises:
        TypeError, ValueError: an option is out of its range, or an object that was passed lacks a
            method; the message names it.

    Example:
        Options of a run.

        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.QR(), max_steps=500)
        >>> def residuals(p, x, y):
        ...     return p[0] * jnp.exp(p[1] * x) - y
        >>> x = jnp.linspace(0, 1, 20)
        >>> data = (x, 2 * jnp.exp(-3 * x))
        >>> solution = lmjax.least_squares(residuals, jnp.ones(2), data, solver=solver)
        >>> [round(float(p), 3) for p in solution.params], solution.linear_solver
        ([2.0, -3.0], 'QR')

        A loop of one's own, in the precision in which JAX is (float32 unless its 64-bit mode
        is on):

        >>> import jax
        >>> solver = lmjax.LevenbergMarquardt()
        >>> params = jnp.array([1.0, 0.0])
        >>> state = solver.init(residuals, params, data)
        >>> step = jax.jit(lambda params, state: solver.step(residuals, params, state, data))
        >>> while state.status == lmjax.Status.RUNNING:
        ...     params, state = step(params, state)
        >>> [round(float(p), 3) for p in params], lmjax.Status(int(state.status)).success
        ([2.0, -3.0], True)
    """

    def init(
        self,
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
    ) -> State:
        """The state with which a loop of one's own begins; give :meth:`step` the same options.

        The state is sized by the parameters alone. All else is checked here, and a start outside
        of its bounds is told in a warning where values are known, so that a loop that has begun
        goes on.

        Args:
            residual_fn: maps (params, *args) to residuals, an array or a pytree of arrays, or a
                list of such functions.
            params: a pytree of floating-point arrays.
            args: further arguments of ``residual_fn``.
            jac: as in :func:`lmjax.least_squares`, like those that follow.
            fixed: which parameters stay as they are.
            weights: factors of the squared residuals.
            sigma: standard deviations of the residuals, instead of weights.
            loss: a robust loss of the weighted residuals.
            bounds: (lower, upper).

        Returns:
            The state before the first step.

        Raises:
            TypeError, ValueError: an argument is none, or does not fit; the message names it.
        """
        faults.warn_once()
        check_effect(self, "a loop of one's own")
        with precision.usual():
            params = as_jax(params, "params")
            problem = Problem.of(
                residual_fn,
                params,
                args,
                jac=jac,
                fixed=fixed,
                weights=weights,
                sigma=sigma,
                loss=loss,
                bounds=bounds,
            )
            if bounds is not None and not problem.is_traced_with(params):
                problem.start_within_bounds(params)  # for its warning
            start = jnp.asarray(problem.structure.flatten(params), problem.dtype)
            # JAX arrays, as steps return them, so that a compiled step is compiled once.
            return jax.tree.map(jnp.asarray, initial_state(start, self.non_monotonic))

    def step(
        self,
        residual_fn: ResidualFn,
        params: Params,
        state: State,
        args: tuple[PyTree, ...] = (),
        *,
        jac: TreeFn | None = None,
        fixed: PyTree = None,
        weights: PyTree = None,
        sigma: PyTree = None,
        loss: str | RobustLoss = "linear",
        bounds: tuple[PyTree, PyTree] | None = None,
    ) -> tuple[Params, State]:
        """One step: linearize, try dampings until one lowers the cost. Pure; works under ``jit``
        and ``vmap``.

        Args:
            residual_fn: as in :meth:`init`, like all arguments that are not described here.
            params: where to step from; outside of the bounds, from the nearest point within.
            state: what :meth:`init` or the last step returned.
            args: the data, which may differ from step to step.
            jac: the derivatives of ``residual_fn``.
            fixed: which parameters stay as they are in ``params``.
            weights: factors of the squared residuals.
            sigma: standard deviations of the residuals, instead of weights.
            loss: a robust loss of the weighted residuals.
            bounds: (lower, upper).

        Returns:
            (params, state); ``state.status`` is the code of a :class:`~lmjax.Status`,
            ``Status.RUNNING`` while there is something to gain, and ``state.cost`` is the cost at
            the returned parameters.

        Raises:
            TypeError, ValueError: as :meth:`init`, or weights that do not fit the residuals.
        """
        with precision.usual(), precision.highest():
            params = as_jax(params, "params")
            problem = Problem.of(
                residual_fn,
                params,
                args,
                jac=jac,
                fixed=fixed,
                weights=weights,
                sigma=sigma,
                loss=loss,
                bounds=bounds,
            )
            objective, limits, start = problem.in_trace(params, self.jacobians)
            flat, state = step.step(self, objective, limits, start, state)
            return problem.structure.unflatten(flat), state


def run_until(
    solver: Options,
    objective: Objective,
    bounds: Bounds | None,
    params: jax.Array,
    state: State,
    max_steps: jax.Array,
) -> tuple[jax.Array, State]:
    """Steps in a loop until the run stops or ``max_steps`` steps (a data argument) were accepted in
    all.
    """

    def running(problem: PyTree, carry: tuple[jax.Array, State]) -> jax.Array:
        return (carry[1].status == Status.RUNNING) & (carry[1].num_steps < problem[2])

    def advance(
        control: step.Control, problem: PyTree, carry: tuple[jax.Array, State]
    ) -> tuple[jax.Array, State]:
        return step.step(solver, problem[0], problem[1], *carry, control)

    numbers = objective.num_residuals(params) * params.size
    control = step.ONE_ATTEMPT if numbers <= _SMALL else step.COMPILED

    def alone(problem: PyTree, carry: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        return control_flow.while_loop(
            partial(running, problem), partial(advance, control, problem), carry
        )

    loop = Loop(running, partial(advance, step.ONE_ATTEMPT), alone, numbers * params.dtype.itemsize)
    return batched_loop.run(loop, (objective, bounds, jnp.asarray(max_steps)), (params, state))
