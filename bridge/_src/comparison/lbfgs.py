"""L-BFGS for some seconds, in compiled loops of steps on all rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.comparison.curve import Curve
from bridge._src.comparison.task import Task
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.optional import needed
from lmjax._src.typing import Scalar

#: Steps whose losses one call can record, as in :func:`lmjax.fit`.
_RECORD = 64
#: The largest part of the seconds that one call should take.
_PART = 1 / 8


class _Carry(NamedTuple):
    params: jax.Array
    state: Any
    losses: jax.Array
    val_losses: jax.Array


def lbfgs(task: Task, start: jax.Array, seconds: float) -> Curve:
    """The run of Optax' L-BFGS with its own line search; it ends early where that no longer finds
    a way down. Validation losses are on its clock, as on that of Levenberg-Marquardt.
    """
    params, state = start, _optimizer().init(start)
    spent, losses, val_losses = [0.0], *([loss] for loss in task.losses(start))
    elapsed, count = 0.0, 1
    while elapsed < seconds:
        begin = time.perf_counter()
        carry = jax.block_until_ready(
            _steps(task.objective, task.validation, params, state, np.asarray(count, np.int32))
        )
        took = time.perf_counter() - begin
        spent += np.linspace(elapsed, elapsed + took, count + 1)[1:].tolist()
        elapsed += took
        new, new_val = (
            (np.asarray(values, float)[:count] + task.offsets.get(name, 0.0)).tolist()
            for name, values in (("loss", carry.losses), ("val_loss", carry.val_losses))
        )
        losses += new
        val_losses += new_val
        stuck = bool(jnp.array_equal(carry.params, params)) or not math.isfinite(new[-1])
        if stuck:
            break
        params, state = carry.params, carry.state
        count = max(1, min(int(count * _PART * seconds / took), 8 * count, _RECORD))
    return Curve(spent, losses, val_losses, list(range(len(losses)))).until(seconds)


def _optimizer() -> Any:
    return needed("optax", "optax", "a comparison").lbfgs()


def _run(
    objective: SupervisedObjective,
    validation: SupervisedObjective | None,
    params: jax.Array,
    state: Any,
    count: Scalar,
) -> _Carry:
    optax = needed("optax", "optax", "a comparison")
    optimizer, value = _optimizer(), _value(objective)
    value_and_gradient = optax.value_and_grad_from_state(value)

    def step(number: jax.Array, carry: _Carry) -> _Carry:
        params, state, losses, val_losses = carry
        before, gradient = value_and_gradient(params, state=state)
        change, state = optimizer.update(
            gradient, state, params, value=before, grad=gradient, value_fn=value
        )
        params = optax.apply_updates(params, change)
        loss = optax.tree_utils.tree_get(state, "value")
        losses = losses.at[number].set(loss)
        if validation is not None:
            val_loss = validation.cost(validation.evaluate(params))
            val_losses = val_losses.at[number].set(val_loss)
        return _Carry(params, state, losses, val_losses)

    none = jnp.full((_RECORD,), jnp.nan, params.dtype)
    done: _Carry = jax.lax.fori_loop(0, count, step, _Carry(params, state, none, none))
    return done


_steps = recent()(_run)


def _value(objective: SupervisedObjective) -> Callable[[jax.Array], jax.Array]:
    """The loss as a function whose gradient comes from the same pass over the rows, in chunks: the
    loop over them cannot be differentiated backwards.
    """

    @jax.custom_vjp
    def value(params: jax.Array) -> jax.Array:
        return objective.cost(objective.evaluate(params))

    def forward(params: jax.Array) -> tuple[jax.Array, jax.Array]:
        values, gradient = objective.values_and_gradient(params)
        return objective.cost(values), gradient

    def backward(gradient: jax.Array, factor: jax.Array) -> tuple[jax.Array]:
        return (factor * gradient,)

    value.defvjp(forward, backward)
    return value
