"""What a fit did, and the loss at other parameters by its data."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.losses.offset import has_offset, sum_of_offsets
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.plots.names import NOT_METRICS
from lmjax._src.plots.training_curves import Against, training_curves
from lmjax._src.runtime import precision
from lmjax._src.training.bayesian.laplace import End, posterior_of
from lmjax._src.training.bayesian.mixture import Mixture
from lmjax._src.training.bayesian.posterior import Posterior
from lmjax._src.training.epochs.minibatch import loss_at, loss_of
from lmjax._src.training.epochs.race import Restart
from lmjax._src.training.following.continuation import FitState
from lmjax._src.training.following.selection import Rules
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.typing import Array, Params

#: Rows in memory on which parameters are compared after a fit that was cut short, when no data are
#: to be read again.
_NEARBY_ROWS = 4096

#: What the other rows may change more than those, and how much less than its start a loss must be
#: for nothing that rounding changes to matter, where not even those rows can be computed with.
_CAUTION, _SURE = 4.0, 1e-3

#: Sums of one loss by two programs differ by some roundings.
_ROUNDINGS = 16


@dataclasses.dataclass(frozen=True, repr=False)
class FitResult:
    """What :func:`lmjax.fit` did.

    Attributes:
        params: the parameters that ``restore`` asks for, structured and shaped as they were given.
        history: lists with one number an epoch: ``loss``, ``val_loss`` with validation data, both
            after the epoch; of its step, or of that of its last batch, ``damping`` (λ after it; for
            a trust region ``trust_region_radius``), ``gradient_norm`` (of the loss before the step,
            without entries that bounds hold), ``gain_ratio`` (of the last trial), ``attempts``
            (points at which the loss was computed) and ``step_norm`` (0 where none was taken); and
            ``seconds`` of wall-clock time since the start of the fit, compilation included.
        status: why the fit stopped.
        linear_solver: the name of the linear solver, which says what :class:`~lmjax.Auto` has
            chosen.
        sampled_steps: how many of the epochs took JᵀJ from a sample of the rows
            (``curvature_sample``), which are the first; the others took it from all rows.
        start: the losses before the first epoch, by the names that they have in ``history``.
        best_epoch: the number of the epoch, from 0, whose parameters these are; None for the
            initial ones, for those of the fit that this one has continued, and for those that a
            callback has put in at the end.
        state: what :func:`lmjax.fit` goes on from with ``state=``, parameters of the last epoch
            among it, whichever are returned; a pytree of NumPy arrays that can be pickled.
        warm_up: the losses at the start and after each step of Adam, if ``warm_up`` asked for some.
        restarts: with several starts, what came of each: ``loss`` (the least one), ``val_loss``
            (likewise), ``epochs`` and ``status``; all else here is of the best.
        best_start: its number; 0 for ``params``, which come before ``restarts``.

    Example:
        >>> import numpy as np
        >>> import lmjax
        >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [5.0]])
        >>> line = lambda p, x: p["slope"] * x + p["offset"]
        >>> start = {"slope": np.zeros(1), "offset": np.zeros(1)}
        >>> result = lmjax.fit(line, start, x, y, epochs=10, verbose=0)
        >>> result.params["slope"].round(6), result.params["offset"].round(6)
        (array([2.]), array([1.]))
        >>> result.linear_solver, result.status.success
        ('Cholesky', True)
        >>> list(result.history)  # doctest: +NORMALIZE_WHITESPACE
        ['loss', 'damping', 'gradient_norm', 'gain_ratio', 'attempts', 'step_norm', 'seconds']
    """

    params: Params
    history: dict[str, list[float]]
    status: Status
    linear_solver: str
    sampled_steps: int
    start: dict[str, float]
    best_epoch: int | None
    _rules: Rules
    _objective: SupervisedObjective | StreamedObjective
    _validation: SupervisedObjective | StreamedObjective | None
    #: what reported losses have beside costs, by their names in ``history``
    _offsets: dict[str, float]
    state: FitState | None
    #: the losses at the start of the first of several fits, each of which continues another
    _origin: Mapping[str, float]
    warm_up: list[float]
    restarts: list[Restart]
    best_start: int
    #: what posteriors are made of: of the best start, and then of all of several
    _ends: list[End]

    def __repr__(self) -> str:
        """A line; a notebook shows it of what ends a cell."""
        return in_short("FitResult", self.history, self.status)

    def epochs_of(self, name: str) -> list[int]:
        """Which epochs the numbers of a list in ``history`` belong to.

        Args:
            name: of the list.

        Returns:
            Their numbers, from 0: all of them, but for ``val_loss`` with ``validation_freq``.
        """
        count = len(self.history["loss"])
        due = self._rules.due(0, count) if name == "val_loss" else None
        return list(range(count)) if due is None else np.flatnonzero(due).tolist()

    def plot(
        self,
        against: Against = "epochs",
        *,
        steps: bool = False,
        label: str | None = None,
        axes: Any = None,
    ) -> Array:
        """Draws the losses, with a mark at the epoch whose parameters these are.

        Args:
            against: what the horizontal axis counts, "epochs" or "seconds".
            steps: whether λ (or the radius of a trust region) and the gradient's norm have panels,
                too.
            label: what this fit is called in the legend, where several share the axes.
            axes: Matplotlib's Axes; None for a new figure.

        Returns:
            An array with the Axes; see :func:`lmjax.plots.training_curves`.

        Raises:
            ImportError: Matplotlib is not installed; the extra ``lmjax[plot]`` has it.
        """
        return training_curves(
            self.history,
            epochs={name: self.epochs_of(name) for name in self.history},
            start=self.start,
            best_epoch=self.best_epoch,
            against=against,
            steps=steps,
            label=label,
            axes=axes,
        )

    @functools.cached_property
    def posterior(self) -> Posterior:
        """What is known of the parameters and of predictions after a fit with
        ``regularization="bayesian"``; computed when it is first asked for.

        Raises:
            ValueError: the fit had no such regularization.
        """
        return self._posteriors(self._ends[:1])[0]

    @functools.cached_property
    def mixture(self) -> Mixture:
        """The posteriors of all starts of a fit with ``regularization="bayesian"`` and
        ``restarts``, with equal weights, as one predictive distribution; computed when it is first
        asked for.

        Raises:
            ValueError: the fit had no such regularization.
        """
        return Mixture(self._posteriors(self._ends[1:] or self._ends))

    def _posteriors(self, ends: Sequence[End]) -> list[Posterior]:
        if not ends:
            raise ValueError(
                'posterior: this fit has none; pass regularization="bayesian" to have one'
            )
        assert isinstance(self._objective, SupervisedObjective)
        return [posterior_of(self._objective, end) for end in ends]

    def loss_at(self, params: Params) -> float:
        """The loss of the fit at other parameters.

        Args:
            params: of the structure and shapes of those that were fitted; their dtype is the
                precision.

        Returns:
            The loss on all data of the fit, penalties included.
        """
        return self._cost_at(self._objective, params) + self._offsets["loss"]

    @property
    def _decisive(self) -> tuple[SupervisedObjective | StreamedObjective, str]:
        """The objective by which the parameters were chosen, and what its loss is called."""
        if self._rules.restore == "validation" and self._validation is not None:
            return self._validation, "val_loss"
        return self._objective, "loss"

    def _cost_at(self, objective: SupervisedObjective | StreamedObjective, params: Params) -> float:
        dtype = arguments.floating_dtype(params)
        with precision.scope(dtype):
            flat = objective.structure.flatten_concrete(params, dtype)
            return loss_of(objective, jnp.asarray(flat))

    def is_gain(self, params: Params) -> bool:
        """Whether parameters near those of the result, such as the same ones rounded, have a
        smaller loss than the start had: the validation loss where that has chosen them.

        By the loss on all data; where the fit was cut short no data are read again: then by what
        the loss of the rows in memory changes.

        Args:
            params: of the structure and shapes of those that were fitted.

        Returns:
            True if they have, or if whatever the last epoch has left was asked for.
        """
        if self._rules.restore == "last":
            return True
        objective, name = self._decisive
        epsilon = float(np.finfo(arguments.floating_dtype(params)).eps)
        offset = self._offsets[name]
        start = self._origin[name] - offset
        highest = start - _ROUNDINGS * epsilon * abs(start)
        if self.status is not Status.INTERRUPTED:
            try:
                return self._cost_at(objective, params) <= highest
            except (Exception, KeyboardInterrupt):  # noqa: BLE001 - the training is done, and is not lost to a last look at the data
                pass
        reached = min([start, *(loss - offset for loss in self.history.get(name, []))])
        try:
            change = self._change_nearby(objective, params)
        except Exception:  # noqa: BLE001 - such as a lack of memory
            change = 0.0 if reached <= (1 - _SURE) * start else math.inf
        return reached + _CAUTION * change <= highest

    def _change_nearby(
        self, objective: SupervisedObjective | StreamedObjective, params: Params
    ) -> float:
        """How much larger the loss of rows that are in memory is at ``params`` than at those of the
        result.
        """
        dtype = arguments.floating_dtype(params)
        with precision.scope(dtype):
            if isinstance(objective, StreamedObjective):
                nearby = objective.nearby()
            else:
                nearby = dataclasses.replace(
                    objective, rows=jax.tree.map(lambda leaf: leaf[:_NEARBY_ROWS], objective.rows)
                )
            old, new = (
                float(loss_at(nearby, objective.structure.flatten_concrete(tree, dtype)))
                for tree in (self.params, params)
            )
        return max(new - old, 0.0)


def in_short(name: str, history: Mapping[str, Sequence[float]], status: Status) -> str:
    """One line about a training: what it is called, its last losses and metrics, why it ended."""
    lasts = ", ".join(
        f"{key}={values[-1]:.4g}"
        for key, values in history.items()
        if values and key not in NOT_METRICS
    )
    return f"<{name} of {len(history.get('loss', ()))} epochs: {lasts}; {status.name}>"


def objectives(
    result: FitResult,
) -> tuple[
    SupervisedObjective | StreamedObjective,
    SupervisedObjective | StreamedObjective | None,
    dict[str, float],
]:
    """What a fit has lowered, its validation data likewise, and what reported losses have beside
    costs: for other methods on the same loss.
    """
    return result._objective, result._validation, result._offsets


def mean_offset(objective: SupervisedObjective | StreamedObjective) -> float:
    """What the reported loss has beside the cost: see
    :class:`~lmjax._src.objectives.losses.offset.Offset`. One pass over a stream, of a loss that
    has any.
    """
    if isinstance(objective, SupervisedObjective):
        rows = objective.rows
        total = sum_of_offsets(objective.loss, rows.targets, rows.weights)
    elif has_offset(objective.template.loss):
        loss = objective.template.loss
        total = sum(sum_of_offsets(loss, rows.targets, rows.weights) for rows in objective.stream)
    else:
        total = 0.0
    return total / objective.num_rows
