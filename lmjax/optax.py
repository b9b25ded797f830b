"""Levenberg-Marquardt as a link of an Optax chain: ``lmjax.optax.levenberg_marquardt``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax._src.levenberg_marquardt.effects import check_effect
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.state import State
from lmjax._src.levenberg_marquardt.status import Status, is_success
from lmjax._src.objectives.residual_functions import ResidualFn
from lmjax._src.objectives.robust import RobustLoss
from lmjax._src.runtime.optional import needed
from lmjax._src.typing import Params, PyTree, TreeFn

if TYPE_CHECKING:
    import optax
else:
    optax = needed("optax", "optax", "lmjax.optax")

__all__ = ["levenberg_marquardt"]


def levenberg_marquardt(
    residual_fn: ResidualFn | None = None,
    solver: LevenbergMarquardt | None = None,
    *,
    jac: TreeFn | None = None,
    fixed: PyTree = None,
    weights: PyTree = None,
    sigma: PyTree = None,
    loss: str | RobustLoss = "linear",
    bounds: tuple[PyTree, PyTree] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The Levenberg-Marquardt step as an update that Optax can chain, scale, clip and mask.

    ``update(grads, state, params, args=(…))`` takes one step on ½‖residual_fn(params, *args)‖² and
    returns the change of the parameters, to be added by ``optax.apply_updates``; a step that lowers
    the cost is tried for within the update, so that no learning rate is needed. The gradients that
    it is handed are not used: pass None or the params. The data may differ from update to update,
    and so may ``weights`` or ``sigma``, which ``update`` takes as well. Works under ``jit`` and
    ``vmap``, in the mode (32 or 64 bits) in which JAX is.

    Args:
        residual_fn: maps (params, *args) to residuals, an array or a pytree of arrays, or a list of
            such functions. ``update`` takes another as ``residual_fn=``, which is the way when None
            is given here.
        solver: the options; :class:`lmjax.LevenbergMarquardt` with its defaults when None.
        jac: as in :func:`lmjax.least_squares`, like those that follow.
        fixed: which parameters this update leaves as they are.
        weights: factors of the squared residuals.
        sigma: standard deviations of the residuals, instead of weights.
        loss: a robust loss of the weighted residuals.
        bounds: (lower, upper); params plus the update lie within, to the rounding of that sum.

    Returns:
        A transformation whose state is the solver's: ``state.cost`` is the cost at params plus this
        update, and ``state.status`` the code of a :class:`lmjax.Status`: ``Status.RUNNING`` while
        there is something to gain.

    Raises:
        TypeError, ValueError: from ``init`` and ``update``: an argument is missing, or does not
            fit; the message names it.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> import lmjax.optax
        >>> def residuals(p, x, y):
        ...     return p[0] * jnp.exp(p[1] * x) - y
        >>> x = jnp.linspace(0, 1, 20)
        >>> y = 2 * jnp.exp(-3 * x)
        >>> optimizer = lmjax.optax.levenberg_marquardt(residuals)
        >>> params = jnp.array([1.0, 0.0])
        >>> state = optimizer.init(params)
        >>> update = jax.jit(optimizer.update)
        >>> for _ in range(10):
        ...     updates, state = update(None, state, params, args=(x, y))
        ...     params = optax.apply_updates(params, updates)
        >>> [round(float(p), 3) for p in params]
        [2.0, -3.0]
    """
    solver = LevenbergMarquardt() if solver is None else solver
    check_effect(solver, "lmjax.optax")
    options: dict[str, Any] = {"jac": jac, "fixed": fixed, "loss": loss, "bounds": bounds}
    given: dict[str, Any] = {"weights": weights, "sigma": sigma}

    def init(params: Params) -> State:
        return solver.init(residual_fn or _missing, params, **options, **given)

    def update(
        updates: Params,
        state: State,
        params: Params = None,
        *,
        residual_fn: ResidualFn | None = residual_fn,
        args: tuple[PyTree, ...] = (),
        weights: PyTree = None,
        sigma: PyTree = None,
        **extra: Any,
    ) -> tuple[Params, State]:
        del updates, extra
        if params is None:
            raise ValueError(
                "params: levenberg_marquardt needs them; call update(grads, state, params)"
            )
        if residual_fn is None:
            raise ValueError(
                "residual_fn: give it to levenberg_marquardt, or to update as residual_fn="
            )
        anew = weights is not None or sigma is not None
        weighting: dict[str, Any] = {"weights": weights, "sigma": sigma} if anew else given
        new_params, state = solver.step(
            residual_fn, params, _going_on(state), args, **options, **weighting
        )
        return jax.tree.map(lambda new, old: new - jnp.asarray(old), new_params, params), state

    return optax.GradientTransformationExtraArgs(init, update)


def _missing(*_: Any) -> Any:
    raise ValueError("residual_fn: not given")


def _going_on(state: State) -> State:
    """A state that steps again: data and params may have changed since the run stopped. After a
    failure λ starts afresh.
    """
    failed = (state.status != Status.RUNNING) & ~is_success(state.status)
    running = jnp.full_like(state.status, int(Status.RUNNING))
    return state._replace(
        status=running,
        attempts=jnp.zeros_like(state.attempts),
        lowered=jnp.zeros_like(state.lowered),
        num_evaluations=jnp.where(failed, 0, state.num_evaluations),
    )
