"""Adam for some seconds, in compiled loops of steps on shuffled batches."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.comparison.curve import Curve
from bridge._src.comparison.task import Task
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.optional import needed
from lmjax._src.typing import Scalar

#: A call takes this part of the time so far, so that losses are looked at often while they fall
#: fast, but at most that part of all of the time.
_GROWTH, _LARGEST_PART = 0.1, 1 / 32
#: So many times what the shortest call took, which is mostly what any call costs, up to that part
#: of the time.
_CALLS, _LARGEST_FOR_CALLS = 10, 1 / 8
#: A call that outlasts the seconds does not count, and the last ones have the smallest rate.
_OF_THE_REST = 0.8

#: Params, Adam's state, and the order of the rows.
_Carry = tuple[jax.Array, Any, jax.Array]


def adam(task: Task, start: jax.Array, seconds: float, rate: float, batch_size: int) -> Curve:
    """The run. The rate falls to zero along half a cosine over the seconds, and weights are
    projected onto what constraints allow after each step, as in Keras; losses are looked at while
    the clock stands still.
    """
    rows = task.objective.num_rows
    batch_size = min(batch_size, rows)
    optimizer = _optimizer()
    carry = (start, optimizer.init(start), jnp.arange(rows))
    spent, losses, val_losses = [0.0], *([loss] for loss in task.losses(start))
    done, count, shortest = [0], 1, 0.0
    while spent[-1] + shortest < seconds:
        now_rate = rate * (1 + math.cos(math.pi * spent[-1] / seconds)) / 2
        begin = time.perf_counter()
        carry = jax.block_until_ready(
            _steps(
                batch_size,
                task.objective,
                task.bounds,
                carry,
                np.asarray(done[-1], np.int32),
                np.asarray(done[-1] + count, np.int32),
                np.asarray(now_rate, task.dtype),
            )
        )
        took = time.perf_counter() - begin
        spent.append(spent[-1] + took)
        loss, val_loss = task.losses(carry[0])
        losses.append(loss)
        val_losses.append(val_loss)
        done.append(done[-1] + count)
        shortest = min(shortest or took, took)
        wanted = max(
            min(_GROWTH * spent[-1], _LARGEST_PART * seconds),
            min(_CALLS * shortest, _LARGEST_FOR_CALLS * seconds),
        )
        wanted = min(wanted, _OF_THE_REST * max(seconds - spent[-1], 0.0))
        count = max(1, min(math.ceil(count * wanted / took), 8 * count))
    return Curve(spent, losses, val_losses, done).until(seconds)


def _optimizer() -> Any:
    return needed("optax", "optax", "a comparison").scale_by_adam()


def _run(
    batch_size: int,
    objective: SupervisedObjective,
    bounds: Any,
    carry: _Carry,
    first: Scalar,
    last: Scalar,
    rate: Scalar,
) -> _Carry:
    """Steps number ``first`` to ``last`` from (params, state of Adam, order of the rows); a pass
    leaves out the rows after the last full batch, which its own order has put there.
    """
    optimizer, batches = _optimizer(), objective.num_rows // batch_size

    def step(number: jax.Array, carry: _Carry) -> _Carry:
        params, state, order = carry
        passes, place = number // batches, number % batches
        order = jax.lax.cond(
            place == 0,
            lambda: jax.random.permutation(jax.random.fold_in(jax.random.key(0), passes), order),
            lambda: order,
        )
        chosen = jax.lax.dynamic_slice_in_dim(order, place * batch_size, batch_size)
        rows = jax.tree.map(lambda leaf: leaf[chosen], objective.rows)
        _, gradient = replace(objective, rows=rows).values_and_gradient(params)
        direction, state = optimizer.update(gradient, state)
        params = params - rate * direction
        return params if bounds is None else bounds.project(params), state, order

    done: _Carry = jax.lax.fori_loop(first, last, step, carry)
    return done


_steps = recent(static_argnums=(0,))(_run)
