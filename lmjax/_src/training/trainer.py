"""Levenberg-Marquardt steps in a loop of one's own over batches: ``lmjax.Trainer``."""

from __future__ import annotations

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.arrays.numbers import check_captured
from lmjax._src.arrays.structure import Structure, unflatten_returned
from lmjax._src.levenberg_marquardt.effects import check_effect
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.named import find_loss
from lmjax._src.objectives.losses.offset import sum_of_offsets
from lmjax._src.objectives.rows import filled, mean_over
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import precision
from lmjax._src.runtime.meshes import explicit_mesh
from lmjax._src.training.dataset import check_rows, row_shape_of
from lmjax._src.training.epochs.batch_step import initial_batch_state
from lmjax._src.training.epochs.minibatch import BATCH_SOLVER, MOMENTUM, one_batch
from lmjax._src.training.penalties import limits_of, penalty_of, serves_arrays
from lmjax._src.training.setup import feasible_set
from lmjax._src.typing import ModelFn, Params, PyTree

_NAMES = ("x", "y", "sample_weight")


class Trainer:
    """Does one Levenberg-Marquardt step on each batch that it is given, in a loop of one's own;
    damping and momentum go on from batch to batch.

    A step lowers the loss of its batch or is dropped; the loss on other data may rise, so keep the
    best parameters by data of your own choice (``lmjax.fit`` with ``batch_size`` does so by all
    data). A batch smaller than the largest so far is filled up with rows of weight zero, so that it
    compiles nothing.

    Args:
        model_fn: a pure function of (params, x), as for :func:`lmjax.fit`.
        params: where to start; their dtype is the precision.
        loss: as for :func:`lmjax.fit`.
        solver: the options; by default one damping for all parameters, which suits batches.
        l2: factors of a penalty, as for :func:`lmjax.fit`.
        l1: likewise.
        orthogonal_rows: likewise.
        orthogonal_columns: likewise.
        bounds: as for :func:`lmjax.fit`.
        momentum: the fraction of the last step that the next one starts from, at least 0 and below
            1.

    Raises:
        TypeError, ValueError: as :func:`lmjax.fit`.

    Example:
        >>> import numpy as np
        >>> import lmjax
        >>> random = np.random.default_rng(0)
        >>> trainer = lmjax.Trainer(lambda p, x: x @ p, np.zeros((2, 1)), loss="mse")
        >>> for _ in range(10):
        ...     x = random.normal(size=(8, 2))
        ...     loss = trainer.step(x, x @ np.array([[1.0], [-2.0]]))
        >>> trainer.params.round(3).tolist()
        [[1.0], [-2.0]]
    """

    def __init__(
        self,
        model_fn: ModelFn,
        params: Params,
        *,
        loss: str | Loss = "mse",
        solver: LevenbergMarquardt | None = None,
        l2: PyTree = None,
        l1: PyTree = None,
        orthogonal_rows: PyTree = None,
        orthogonal_columns: PyTree = None,
        bounds: PyTree = None,
        momentum: float = MOMENTUM,
    ) -> None:
        self._solver = BATCH_SOLVER if solver is None else solver
        check_effect(self._solver, "a fit in batches", BATCH_SOLVER)
        self._momentum = arguments.momentum(momentum)
        self._dtype, self._mesh = arguments.floating_dtype(params), explicit_mesh(params)
        self._structure = Structure.of(params)
        self._largest, self._row_shape = 0, cast("tuple[int, ...] | None", None)
        model = arguments.as_pytree_callable(model_fn, "model_fn")
        with precision.scope(self._dtype):
            check_captured(model, "model_fn")
            self._flat = jnp.asarray(self._structure.flatten_concrete(params, self._dtype))
            penalty = penalty_of(l2, l1, params, self._dtype, orthogonal_rows, orthogonal_columns)
            self._limits = limits_of(feasible_set(bounds, params, self._dtype), penalty)
            if self._limits is not None:
                self._flat = self._limits.project(self._flat)
            self._state = initial_batch_state(self._flat)
            rows: PyTree = None  # those of each batch are put in
            self._template = SupervisedObjective(
                rows,
                model,
                penalty,
                find_loss(loss),
                self._structure,
                self._solver.jacobian,
                layerwise=serves_arrays(penalty, self._limits, self._structure),
            )

    def step(self, x: PyTree, y: PyTree, sample_weight: PyTree = None) -> float:
        """One step on a batch.

        Args:
            x: inputs, an array (N, …) or a pytree of such, as for :func:`lmjax.fit`.
            y: targets, (N, …).
            sample_weight: weights of the rows, (N,), or of their steps, at least 0; None for ones.

        Returns:
            The batch's loss before the step.

        Raises:
            TypeError, ValueError: the batch cannot be used; the parameters stay as they are.
        """
        with precision.scope(self._dtype):
            template = self._template

            def row_shape(inputs: PyTree) -> tuple[int, ...]:
                if self._row_shape is None:
                    tree = self._structure.unflatten(self._flat)
                    self._row_shape = row_shape_of(template.model, tree, inputs, "x")
                return self._row_shape

            rows = check_rows(x, y, sample_weight, template.loss, row_shape, self._dtype, _NAMES)
            count = len(rows.targets)
            if count == 0:
                raise ValueError("x and y: there are no rows of data in the batch")
            largest = max(self._largest, count)
            if rows.weights is None:
                rows = rows._replace(weights=np.ones(count, self._dtype))
            offset = sum_of_offsets(template.loss, rows.targets, rows.weights) / count
            rows = mean_over(count, filled(rows, largest))
            batch = dataclasses.replace(template, rows=jax.tree.map(jnp.asarray, rows))
            # Waited for, so that a lack of memory is known before anything is replaced: smaller
            # batches are not to be filled up to one that was too large.
            moved = jax.block_until_ready(
                one_batch(
                    *(self._solver, self._momentum, batch, self._flat, self._state, self._limits)
                )
            )
            (self._flat, self._state, loss), self._largest = moved, largest
            self._mesh = explicit_mesh((x, y)) or self._mesh
            return float(loss) + offset

    @property
    def params(self) -> Params:
        """The parameters now, structured and shaped as they were given."""
        return unflatten_returned(self._structure, self._flat, self._mesh)

    @property
    def num_accepted(self) -> int:
        """How many steps were not dropped."""
        return int(self._state.num_accepted)
