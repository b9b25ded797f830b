"""Nonlinear least squares: ``lmjax.least_squares``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh

from lmjax._src.arrays import arguments
from lmjax._src.arrays.numbers import as_jax, check_captured
from lmjax._src.arrays.structure import Structure, unflatten_returned
from lmjax._src.least_squares.final_digits import MAX_PARAMETERS, MAX_STEPS, ROUNDINGS, finished
from lmjax._src.least_squares.implicit import (
    differentiable,
    differentiable_cost,
    differentiable_cost_in_reverse,
    differentiable_in_reverse,
)
from lmjax._src.least_squares.newton import MAX_SADDLES, Minimum, settled
from lmjax._src.least_squares.residual_weights import root_weights
from lmjax._src.least_squares.second_runs import CREEPING_COST, Again
from lmjax._src.least_squares.solution import Solution
from lmjax._src.levenberg_marquardt.acceptance import best_seen
from lmjax._src.levenberg_marquardt.bounds import Bounds, bounds_for, fixed_mask, held, start_within
from lmjax._src.levenberg_marquardt.damping import DampingState
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt, run_until
from lmjax._src.levenberg_marquardt.state import Memory, State, initial_state
from lmjax._src.levenberg_marquardt.status import Status, is_success, warn_of_failure
from lmjax._src.linear_solvers.auto import Chosen
from lmjax._src.linear_solvers.base import LinearSolverChoice
from lmjax._src.objectives.residual_functions import as_residual_fn
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.objectives.robust import RobustLoss, find_robust_loss
from lmjax._src.runtime import precision
from lmjax._src.runtime.bounded_jit import outside_of_transformations, recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.runtime.explanations import explain
from lmjax._src.runtime.meshes import explicit_mesh
from lmjax._src.runtime.slices import slices

#: Multiplications that the first slice of a run may cost; about a tenth of a second on a slow core.
_FIRST_SLICE_OPERATIONS = 1e8

#: Steps after which a run is looked at that has not stopped, and after twice, four times, … as
#: many: a count, since how long the slices are depends on time. One whose cost has fallen by no
#: more than its rounding since the last look goes on in vain, or is where rounding decides which
#: steps are accepted.
_FIRST_LOOK = 100

#: Seconds for which a run is waited for in a loop: a thread that sleeps takes 60 µs to wake, as
#: long as a small fit.
_SPINNING = 3e-4

_DEFAULT = LevenbergMarquardt()


def least_squares(
    residual_fn: Callable[..., Any] | Sequence[Callable[..., Any]],
    params: Any,
    args: tuple[Any, ...] = (),
    *,
    solver: LevenbergMarquardt | None = None,
    bounds: tuple[Any, Any] | None = None,
    jac: Callable[..., Any] | None = None,
    fixed: Any = None,
    weights: Any = None,
    sigma: Any = None,
    loss: str | RobustLoss = "linear",
) -> Solution:
    """Minimises ½‖residual_fn(params, *args)‖² by Levenberg-Marquardt.

    Works on its own and inside ``jit``, ``vmap`` and other transformations. Under ``vmap`` each
    problem of the batch stops by itself and those that go on are packed together. ``jax.grad`` and
    the like give the derivatives of ``params`` and ``cost`` in ``args``, in the bounds, and in what
    ``residual_fn`` captured, by the implicit function theorem with the full Hessian; they hold at a
    solution, and the start has no influence. On its own it compiles once for each residual function
    and set of shapes: pass changing data through ``args`` and keep the function. Ctrl-C ends the
    run with the best parameters so far and says so in the status.

    Args:
        residual_fn: maps (params, *args) to residuals: an array or a pytree of arrays, real, of any
            shape. Or a list or tuple of functions, whose residuals are taken together; each is
            called as f(*params, *args), the params being a list or tuple of arrays, or f(params,
            *args) if they are not.
        params: where to start: a number, an array, or any pytree of them. Their dtype is the
            precision of the whole run: float64 (also Python and NumPy numbers) needs no switch in
            JAX. Integers are taken as float64.
        args: further arguments, a tuple of arrays or pytrees. Floating-point arrays are cast to the
            params' dtype.
        solver: the options; :class:`lmjax.LevenbergMarquardt` with its defaults when None.
        bounds: (lower, upper), each a number or a pytree like ``params``, infinite or None where
            there is none. A start outside is moved to the nearest bound, with a warning.
        jac: a function of (params, *args) that gives what ``jax.jacfwd(residual_fn)`` would, used
            in its place everywhere: for every array of the residuals a tree like ``params`` of
            arrays (*residuals.shape, *param.shape). None for JAX's derivatives, in the mode that
            ``solver.jacobian`` names. Geodesic acceleration differentiates ``jac``.
        fixed: which parameters stay as they are: a boolean or a pytree of booleans (or boolean
            arrays) like ``params``, or a prefix of it. The statistics treat them as known.
        weights: factors of the squared residuals, such as inverse variances: a number, or a pytree
            like the residuals (or a prefix of theirs) of arrays that broadcast to them. Residuals
            of weight 0 may be NaN, and do not count.
        sigma: standard deviations of the residuals instead of weights, which are then 1/sigma².
        loss: "linear" for squares; "huber", "soft_l1", "cauchy", "tukey" for a robust loss of scale
            1, or an object with its scale, as :class:`lmjax.Huber` (1.5). It is applied to the
            weighted residuals, as in SciPy.

    Returns:
        A :class:`Solution`: params, cost, status, counts, and the statistics of the fit. Float64
        results are NumPy arrays unless JAX's 64-bit mode is on.

    Warns: ConvergenceWarning: no minimum was found; once, where the call is not traced and was not
        interrupted.

    Raises:
        TypeError: params are complex, narrower than float32 or no numbers, or an argument is no
            function, or one that JAX cannot trace or differentiate; the message names the line.
        ValueError: there are no parameters or residuals, or bounds, fixed, weights, sigma or loss
            do not fit; or a function calls back into Python in float64 without JAX's 64-bit mode,
            which would round what passes.

    References: K. Levenberg (1944); D. W. Marquardt (1963); J. J. Moré (1978); H. B. Nielsen
        (1999); M. K. Transtrum and J. P. Sethna, arXiv:1201.5885. Which part comes from whom is
        said at each option of the solver.
    """
    try:
        solution = solved(
            residual_fn, params, args, solver, bounds, jac, fixed, weights, sigma, loss
        )
    except Exception as error:
        explain(error, "residual_fn")
        raise
    if isinstance(solution.status_code, int):
        warn_of_failure("least_squares", solution.status)
    return solution


def solved(
    residual_fn: Any,
    params: Any,
    args: Any = (),
    solver: LevenbergMarquardt | None = None,
    bounds: Any = None,
    jac: Any = None,
    fixed: Any = None,
    weights: Any = None,
    sigma: Any = None,
    loss: str | RobustLoss = "linear",
) -> Solution:
    """:func:`least_squares`, with the same arguments in the same order, that leaves it to the
    caller to look at the status.
    """
    solver = _DEFAULT if solver is None else solver
    if not isinstance(args, tuple):
        raise TypeError(
            f"args: expected a tuple of further arguments, got {type(args).__name__}; for "
            "one argument write args=(data,)"
        )
    dtype = arguments.floating_dtype(params)
    function = as_residual_fn(residual_fn, jac)
    structure = Structure.of(params)
    limits = None if bounds is None else bounds_for(params, bounds, dtype)
    known = None if fixed is None else fixed_mask(params, fixed)
    options = {
        "root_weights": root_weights(weights, sigma, dtype),
        "loss": find_robust_loss(loss, dtype),
    }
    if precision.is_traced((params, args, function, limits, known, options)):
        with precision.usual():
            objective = ResidualObjective(
                as_jax(args, "args"), function, structure, solver.jacobians, **options
            )
            start = jnp.asarray(structure.flatten(params), dtype)
            limits = limits if known is None else held(limits, known, start)
            return _solution(
                objective, limits, *_solve(solver, objective, limits, start, solver.max_steps)
            )
    with precision.scope(dtype):
        check_captured(function, "residual_fn")
        objective = ResidualObjective(
            arguments.as_dtype(args, dtype), function, structure, solver.jacobians, **options
        )
        flat = structure.flatten_concrete(params, dtype)
        limits = limits if known is None else held(limits, known, flat)
        if limits is not None:
            flat = start_within(limits, params, flat)
        again = Again(solver, lambda other, start=flat: run_to_end(other, objective, limits, start))
        outcome = again.better(
            run_to_end(solver, objective, limits, flat, again if solver.second_run else None)
        )
    return _solution(objective, limits, *outcome, explicit_mesh((params, args, residual_fn)))


def run_to_end(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: Any,
    again: Again | None = None,
) -> tuple[jax.Array, State, Any, Chosen]:
    """(params, state, status, what was chosen) of a whole run from ``flat`` (P,); inside of
    :func:`lmjax._src.runtime.precision.scope`.

    It ends early where it creeps and ``again`` overtakes it.
    """
    # In a trace, where ``residual_fn`` may have captured something, each slice would be one more
    # program.
    steps = _FIRST_LOOK if outside_of_transformations() else solver.max_steps
    first = int(max(1, min(steps, _FIRST_SLICE_OPERATIONS / flat.size**3)))
    return _solve(solver, objective, bounds, flat, first, again if first == _FIRST_LOOK else None)


def _solve(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: Any,
    first_slice: int,
    again: Again | None = None,
) -> tuple[jax.Array, State, Any, Chosen]:
    """Runs to the end: in slices when the values are concrete, in one loop when they are traced."""
    chosen = Chosen("", False)
    elsewhere: list[
        tuple[Any, _Packed | None]
    ] = []  # where the next slice begins, if not where the last one has ended

    def advance(carry: tuple[Any, _Packed | None], steps: int) -> tuple[Any, _Packed | None]:
        nonlocal chosen
        params, packed = elsewhere.pop() if elsewhere else carry
        until = steps
        if packed is not None and not packed.is_traced:
            done, packed = _resumed(solver, packed)
            until = min(done + steps, _next_look(done))
        params, packed, chosen = _run(
            solver, objective, bounds, params, packed, min(until, solver.max_steps)
        )
        return params, packed.on_host()

    start: tuple[Any, _Packed | None] = (flat, None)
    params, packed, cost, interrupted, saddles = flat, None, np.inf, False, 0
    try:
        for (params, packed), steps, _ in slices(advance, start, first_slice, solver.max_steps):
            assert packed is not None
            if packed.is_traced:
                if (
                    steps < solver.max_steps
                    # something traced was captured by residual_fn: go on to the end in the same
                    # trace
                ):
                    params, packed = advance((params, packed), solver.max_steps)
                break
            if packed.is_between_looks(solver):
                continue
            following = _following(solver, objective, params, packed)
            if (
                packed.is_stuck(cost)
                and following in (None, solver)
                and chosen.geodesic_acceleration
            ):
                minimum = (
                    settled(solver, objective, bounds, params) if saddles < MAX_SADDLES else None
                )
                if minimum is not None:
                    params, packed, following = _settled_at(
                        params, minimum, solver, packed, following
                    )
                    elsewhere.append((params, packed))
                    saddles += bool(minimum.left)
            if following is None or _is_overtaken(packed, cost, again):
                break
            solver, cost = following, packed.numbers[2]  # with which ``advance`` goes on
    except KeyboardInterrupt:
        if packed is None:
            raise
        interrupted = True
    assert packed is not None
    return *best_seen(params, packed.state), packed.status_at_the_end(interrupted), chosen


def _is_overtaken(packed: _Packed, cost: float, again: Again | None) -> bool:
    return again is not None and packed.creeps(cost) and again.overtakes(cost, packed.numbers[2])


def _settled_at(
    params: Any,
    minimum: Minimum,
    solver: LevenbergMarquardt,
    packed: _Packed,
    following: LevenbergMarquardt | None,
) -> tuple[Any, _Packed, LevenbergMarquardt | None]:
    """(``params`` or others, packed, options to go on with) after a look at second derivatives."""
    _, _, _, status, *_, singular = packed.counts.tolist()
    if is_success(status) and not singular and not minimum.saddle:
        return params, packed, following  # as its last digits are
    packed = packed.with_minimum(minimum)
    if minimum.left:
        return minimum.params, packed.with_fresh_damping(solver), solver
    return minimum.params, packed, None if minimum.found else following


class _Packed(NamedTuple):
    """A state between two slices, with its scalars in two arrays: each array that a program returns
    costs a microsecond.
    """

    numbers: (
        Any  #: λ, what the damping carries, the cost, the gradient's norm, the cost at the start
    )
    #: steps, evaluations, attempts, status; whether equations were ill-conditioned, λ lowered, a
    #: parameter unmoved, J singular
    counts: Any
    scaling: Any
    sizes: Any
    start: Any
    memory: Memory | None

    @classmethod
    def of(cls, state: State) -> _Packed:
        numbers = *state.damping, state.cost, state.gradient_norm, state.start_cost
        flags = state.ill_conditioned, state.lowered, state.unmoved, state.singular
        counts = state.num_steps, state.num_evaluations, state.attempts, state.status, *flags
        integers = jnp.stack([jnp.asarray(count, jnp.int32) for count in counts])
        return cls(
            jnp.stack(numbers), integers, state.scaling, state.sizes, state.start, state.memory
        )

    @property
    def state(self) -> State:
        """What was packed."""
        damping, carried, cost, gradient_norm, start_cost = (self.numbers[k] for k in range(5))
        steps, evaluations, attempts, status, ill_conditioned, lowered, unmoved, singular = (
            self.counts[k] for k in range(8)
        )
        return State(
            damping=DampingState(damping, carried),
            scaling=self.scaling,
            sizes=self.sizes,
            cost=cost,
            num_steps=steps,
            num_evaluations=evaluations,
            gradient_norm=gradient_norm,
            attempts=attempts,
            status=status,
            start=self.start,
            start_cost=start_cost,
            ill_conditioned=ill_conditioned != 0,
            lowered=lowered != 0,
            singular=singular != 0,
            unmoved=unmoved != 0,
            memory=self.memory,
        )

    @property
    def is_traced(self) -> bool:
        """Whether there are no numbers yet, once :meth:`on_host`."""
        return not isinstance(self.counts, np.ndarray)

    def status_at_the_end(self, interrupted: bool) -> Any:
        """A number, or an array where it is traced."""
        running = int(Status.INTERRUPTED if interrupted else Status.MAX_STEPS)
        status = self.counts[3]
        if self.is_traced:
            return jnp.where(status == Status.RUNNING, running, status)
        return running if int(status) == Status.RUNNING else int(status)

    def is_between_looks(self, solver: LevenbergMarquardt) -> bool:
        """Whether a run goes on as it is: see :data:`_FIRST_LOOK`."""
        steps, _, _, status, *_ = self.counts.tolist()
        return (
            status == Status.RUNNING and steps < solver.max_steps and 2 * steps != _next_look(steps)
        )

    def is_stuck(self, cost: float) -> bool:
        """Whether only second derivatives can tell what this point is.

        No damping lowers the cost, nothing has lowered it by more than its rounding since it was
        ``cost``, J is singular, or a parameter is where it started, as at a saddle by which a
        function of its square has no slope.
        """
        _, _, _, status, *_, unmoved, singular = (
            self.counts.tolist()
        )  # whose comparison with a Status takes NumPy's numbers microseconds
        if status != Status.RUNNING:
            doubtful = singular or (unmoved and self.numbers[2] > 0)
            return bool(doubtful) or status in (Status.DAMPING_EXHAUSTED, Status.ILL_CONDITIONED)
        return self.memory is None and bool(
            self.numbers[2] >= cost * (1 - ROUNDINGS * np.finfo(self.numbers.dtype).eps)
        )

    def creeps(self, cost: float) -> bool:
        """Whether as many steps again as those to this ``cost`` have left most of it."""
        steps, _, _, status, *_ = self.counts.tolist()
        slow = self.memory is None and bool(self.numbers[2] > CREEPING_COST * cost)
        return steps == 2 * _FIRST_LOOK and status == Status.RUNNING and slow

    def with_minimum(self, minimum: Minimum) -> _Packed:
        """The state at what Newton's method made of the parameters."""
        numbers, counts = self.numbers.copy(), self.counts.copy()
        numbers[2], counts[1] = minimum.cost, counts[1] + minimum.evaluations
        counts[3] = minimum.status(int(counts[3]))
        return self._replace(numbers=numbers, counts=counts)

    def with_fresh_damping(self, solver: LevenbergMarquardt) -> _Packed:
        """Running again, nearly undamped."""
        numbers, counts = self.numbers.copy(), self.counts.copy()
        numbers[:2] = solver.damping.restart(DampingState(numbers[0], numbers[1]))
        counts[2:4], counts[5] = (0, int(Status.RUNNING)), 0
        return self._replace(numbers=numbers, counts=counts)

    def on_host(self) -> _Packed:
        """With NumPy's scalars, waiting for the run; as it is where anything is traced, be it what
        has a derivative only.
        """
        if precision.is_traced((self.counts, self.numbers)):
            return self
        begin = time.perf_counter()
        while not self.counts.is_ready() and time.perf_counter() - begin < _SPINNING:
            pass
        return self._replace(counts=np.asarray(self.counts), numbers=np.asarray(self.numbers))


def _next_look(steps: int) -> int:
    """The number of steps after which a run that has taken so many is looked at next: see
    :data:`_FIRST_LOOK`.
    """
    return _FIRST_LOOK * 2 ** (steps // _FIRST_LOOK).bit_length()


def _resumed(solver: LevenbergMarquardt, packed: _Packed) -> tuple[int, _Packed]:
    """The steps that were taken so far, and the state to go on from, also after a stop."""
    steps, _, _, status, *_ = packed.counts.tolist()
    if status == Status.RUNNING:
        return steps, packed
    return steps, packed.with_fresh_damping(solver)


def _following(
    solver: LevenbergMarquardt, objective: ResidualObjective, params: Any, packed: _Packed
) -> LevenbergMarquardt | None:
    """The options with which a run goes on after a slice; None at its end."""
    steps, _, _, status, ill_conditioned, *_ = packed.counts.tolist()
    if steps >= solver.max_steps:
        return None
    if status == Status.RUNNING and not (ill_conditioned and steps >= _FIRST_LOOK):
        return solver
    if not (
        isinstance(solver.linear_solver, LinearSolverChoice)
        and (ill_conditioned or status == Status.ILL_CONDITIONED)
    ):
        return solver if status == Status.RUNNING else None
    if is_success(status) and params.size <= MAX_PARAMETERS:
        return None  # QR has confirmed it
    linear_solver = solver.linear_solver.choose_for_ill_conditioned(objective, params)
    if linear_solver is None:
        return solver if status == Status.RUNNING else None
    return dataclasses.replace(solver, linear_solver=linear_solver)


def _solution(
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: jax.Array,
    state: State,
    status: Any,
    chosen: Chosen,
    mesh: AbstractMesh | None = None,
) -> Solution:
    return Solution(
        params=unflatten_returned(objective.structure, flat, mesh),
        cost=arguments.returned(state.cost, flat.dtype),
        status_code=status,
        num_steps=state.num_steps,
        num_evaluations=state.num_evaluations,
        linear_solver=chosen.name,
        geodesic_acceleration=chosen.geodesic_acceleration,
        _flat=flat,
        _objective=objective,
        _bounds=bounds,
    )


@recent(static_argnums=(0,), effort=Effort.QUICK)
def _run(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    params: jax.Array,
    packed: _Packed | None,
    until: jax.Array,
) -> tuple[jax.Array, _Packed, Chosen]:
    problem = objective.explicit(params), bounds
    # The loops are not differentiated: the derivatives of their result are put in place at the end.
    objective, bounds, params, packed = jax.lax.stop_gradient((*problem, params, packed))
    solver = solver.resolved(objective, params)
    if packed is None:
        params = params if bounds is None else bounds.project(params)
    state = initial_state(params, solver.non_monotonic) if packed is None else packed.state
    params, state = run_until(solver, objective, bounds, params, state, until)
    if params.size <= MAX_PARAMETERS:
        params, state = _finished(solver, objective, bounds, params, state)
    in_reverse = problem[0].forward_orders(params) == 0
    params = (differentiable_in_reverse if in_reverse else differentiable)(*problem, params)
    state = state._replace(
        cost=(differentiable_cost_in_reverse if in_reverse else differentiable_cost)(
            problem[0], params, state.cost
        )
    )
    return params, _Packed.of(state), solver.chosen


def _finished(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    params: jax.Array,
    state: State,
) -> tuple[jax.Array, State]:
    """With the last digits, and the status that QR of J confirms."""
    converged, exhausted = is_success(state.status), state.status == Status.DAMPING_EXHAUSTED
    ended, max_steps = converged | exhausted, jnp.where(converged & solver.polish, MAX_STEPS, 0)
    end = finished(objective, bounds, params, ended, solver.confirmation, max_steps)
    confirmed = jnp.where(exhausted, int(Status.PRECISION), state.status)
    doubtful = jnp.where(exhausted & ~end.dependent, state.status, int(Status.ILL_CONDITIONED))
    inside = True if bounds is None else (params > bounds.lower) & (params < bounds.upper)
    # A zero at which J is singular is one whatever J promises; and what a caller's wide gtol calls
    # orthogonal is, where JᵀJ tells it.
    claimed = (state.status == Status.ZERO) | ((state.status == Status.GRADIENT) & ~end.dependent)
    sure = (end.confirmed & ~(exhausted & end.singular)) | claimed
    return end.params, state._replace(
        cost=jnp.where(ended, end.cost, state.cost),
        num_evaluations=state.num_evaluations + jnp.where(ended, end.evaluations, 0),
        status=jnp.where(ended, jnp.where(sure, confirmed, doubtful), state.status).astype(
            jnp.int32
        ),
        singular=ended & end.singular & (state.status != Status.ZERO),
        unmoved=converged & jnp.any((params == state.start) & inside),
    )
