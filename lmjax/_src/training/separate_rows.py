"""Whether a model computes each row of its outputs from that row of its inputs alone, as a fit by
rows supposes.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.typing import Array, ModelFn, Params, PyTree

#: Rows that are tried; an order reversed or moved by one shows.
_ROWS = 4
#: Outputs differ by rounding where this part of the largest is not exceeded: √ε of single
#: precision, in which parts of a model may compute.
_ROUNDING = math.sqrt(float(np.finfo(np.float32).eps))
#: So far from the start are the parameters of a second trial, in units of their size: those at 0
#: may hide everything.
_AWAY = 0.1


def check_separate(model: ModelFn, params: Params, inputs: PyTree, name: str) -> None:
    """Refuses a model whose outputs for a row depend on the other rows, or on the row's place among
    them.

    A few rows of the data are tried together and among copies of each, in one program, so that the
    outputs are the same but for rounding: at ``params``, and at others nearby.

    Args:
        model: the model.
        params: where the fit starts.
        inputs: a pytree of arrays with the rows along their first axes.
        name: what the inputs are called in messages.

    Raises:
        ValueError: they do.
    """
    leaves = jax.tree.leaves((params, inputs))
    count = jax.tree.leaves(inputs)[0].shape[0]
    if count < _ROWS or not all(
        leaf.is_fully_addressable for leaf in leaves if isinstance(leaf, jax.Array)
    ):
        return
    chosen = np.linspace(0, count - 1, _ROWS).astype(int)
    try:
        outputs = np.asarray(
            _outputs(model, params, jax.tree.map(lambda leaf: leaf[chosen], inputs))
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"model_fn: it takes {count} rows of {name}, but not {_ROWS} of them "
            f"({error}); {_ADVICE}"
        ) from error
    for together, *copies in outputs:
        if not _are_those(together[:, None], np.stack(copies)):
            raise ValueError(
                f"model_fn: its outputs for one row of {name} depend on the other rows, "
                f"or on their order; {_ADVICE}"
            )


_ADVICE = (
    "a fit forms derivatives row by row, so leave the first axis alone in it (a mean over the "
    "batch is applied to the data before the fit), or fit a residual function of all rows by "
    "least_squares"
)


@recent(effort=Effort.LEAST)
def _outputs(model: ModelFn, params: Params, rows: PyTree) -> jax.Array:
    """(2, 1 + rows, rows, …): for both parameters the outputs of the rows together, and of batches
    of copies of each.
    """
    draw = np.random.default_rng(0)

    def away(leaf: Array) -> jax.Array:
        size = jnp.where(leaf == 0, 1, jnp.abs(leaf))
        return jnp.stack(
            [leaf, leaf + _AWAY * size * draw.standard_normal(jnp.shape(leaf)).astype(size.dtype)]
        )

    def copied(leaf: Array) -> jax.Array:
        copies = jnp.broadcast_to(jnp.asarray(leaf)[:, None], (_ROWS, _ROWS, *leaf.shape[1:]))
        return jnp.concatenate([jnp.asarray(leaf)[None], copies])

    batches = jax.tree.map(copied, rows)
    (outputs,) = jax.tree.leaves(
        jax.lax.map(
            lambda p: jax.lax.map(lambda x: model(p, x), batches), jax.tree.map(away, params)
        )
    )
    return outputs


def _are_those(together: np.ndarray, alone: np.ndarray) -> bool:
    """Whether (rows, 1, …) are (rows, rows, …) up to rounding."""
    if not np.issubdtype(alone.dtype, np.inexact):
        return bool((together == alone).all())
    finite = np.abs(alone[np.isfinite(alone)])
    return bool(
        np.allclose(
            alone,
            together,
            rtol=0.0,
            atol=_ROUNDING * float(finite.max(initial=0.0)),
            equal_nan=True,
        )
    )
