"""Keras' options that any loss may have: the reduction and the axis."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.over_all import REDUCTIONS
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.typing import Array, PyTree, Shape


@dataclasses.dataclass(frozen=True)
class Reduced:
    """``loss`` with another reduction than the mean over samples and steps: Keras' ``reduction``.

    The loss that is lowered and reported is that of ``model.evaluate`` with a batch of all rows;
    Keras itself gives another one for each size of a batch. Penalties are added to it as they are,
    so that beside a sum they weigh less. All else is that of ``loss``.

    Args:
        loss: a loss.
        reduction: "sum", over samples and steps; "mean_with_sample_weight", the sum of weighted
            losses over the sum of their weights; or "sum_over_batch_size" and "mean", the mean.

    Attributes:
        loss: the loss.
        reduction: as given.

    Raises:
        ValueError: there is no such reduction; "none" is no number that could be lowered.

    Example:
        >>> import numpy as np
        >>> import lmjax
        >>> loss = lmjax.losses.Reduced(lmjax.losses.MeanSquaredError(), "sum")
        >>> x, y = np.ones((4, 1)), np.array([1.0, 1.0, 3.0, 3.0])
        >>> result = lmjax.fit(lambda p, x: p * x, np.ones(1), x, y, loss=loss, verbose=0)
        >>> round(result.history["loss"][-1], 6)
        4.0
    """

    loss: Loss
    reduction: str = "sum"

    def __post_init__(self) -> None:
        """See the class."""
        if self.reduction not in REDUCTIONS:
            raise ValueError(
                f"loss: reduction={self.reduction!r} is not served, for a fit needs one number; "
                f"expected one of {', '.join(map(repr, REDUCTIONS))}"
            )

    def __getattr__(self, name: str) -> Any:
        """All else is the loss'."""
        return _of_inner(self, name)


@dataclasses.dataclass(frozen=True)
class AlongAxis(ByStep, Loss):
    """``loss`` with another axis than the last one as that of classes, or of the outputs that are
    averaged, as Keras' ``axis``. Weights of steps have all the other axes.

    Args:
        loss: a loss whose targets have the shape of the outputs.
        axis: counted with the batch axis, as in Keras: -1 or from 1 on; not the batch axis itself.

    Attributes:
        loss: the loss.
        axis: as given.

    Raises:
        ValueError: the axis is that of the batch, or targets have no such axis.

    Example:
        The classes first.

        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.AlongAxis(lmjax.losses.CategoricalCrossentropy(), 1)
        >>> outputs = jnp.array([[0.5, 0.2], [0.5, 0.8]])
        >>> round(float(loss.value(outputs, jnp.eye(2))), 4)
        0.4581
    """

    loss: Loss
    axis: int

    def __post_init__(self) -> None:
        """See the class."""
        if self.axis == 0:
            raise ValueError("loss: axis=0 is that of the samples, which are taken one by one")
        if self.loss.target_shape((1, 2, 3)) != (1, 2, 3):
            raise ValueError(
                f"loss: axis={self.axis} is not served by {type(self.loss).__name__}, whose "
                "targets have no axis for the classes; move that axis of the outputs to the end"
            )

    def __getattr__(self, name: str) -> Any:
        """The members that not every loss has: of the targets alone."""
        inner = _of_inner(self, name)
        if name == "offset":
            return lambda targets: inner(self._last(targets))
        if name == "weighted_offset":
            return lambda targets, weights: inner(self._last(targets), weights)
        return inner

    @property
    def takes_quantities(self) -> bool:
        """As the loss."""
        return self.loss.takes_quantities

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """See :class:`Loss`."""
        moved = np.moveaxis(targets, self.axis, -1)
        self.loss.prepare(moved, self._shape(outputs_shape))

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs."""
        if not -len(outputs_shape) < self.axis < len(outputs_shape):
            raise ValueError(
                f"loss: axis={self.axis} is none of outputs of shape {outputs_shape} but the batch"
            )
        return outputs_shape

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return self.loss.value(self._last(outputs), self._last(targets))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        moved = map(self._last, (outputs, targets, vector))
        return self._back(self.loss.root_product(*moved))

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return self._back(self.loss.pseudo_residuals(self._last(outputs), self._last(targets)))

    def steps(self, outputs_shape: Shape) -> Shape:
        """See :class:`lmjax.extend.ByStep`."""
        return self.loss.steps(self._shape(outputs_shape))  # type: ignore[attr-defined]

    def parts(self, weights: Array) -> Array:
        """See :class:`lmjax.extend.ByStep`."""
        return self.loss.parts(weights)  # type: ignore[attr-defined]

    def weighted_value(
        self, outputs: jax.Array, targets: jax.Array, weights: jax.Array
    ) -> jax.Array:
        """See :class:`lmjax.extend.ByStep`."""
        value = self.loss.weighted_value  # type: ignore[attr-defined]
        return value(self._last(outputs), self._last(targets), weights)

    def spread(self, weights: jax.Array, outputs: jax.Array) -> jax.Array:
        """See :class:`lmjax.extend.ByStep`."""
        return self._back(self.loss.spread(weights, self._last(outputs)))  # type: ignore[attr-defined]

    @property
    def _of_sample(self) -> int:
        return self.axis - 1 if self.axis > 0 else self.axis

    def _last(self, array: jax.Array) -> jax.Array:
        return jnp.moveaxis(array, self._of_sample, -1)

    def _back(self, array: jax.Array) -> jax.Array:
        return jnp.moveaxis(array, -1, self._of_sample)

    def _shape(self, shape: Shape) -> Shape:
        axis = self.axis % len(shape)
        return (*shape[:axis], *shape[axis + 1 :], shape[axis])


def _of_inner(wrapper: Any, name: str) -> Any:
    if name.startswith("_") or name == "loss":  # asked for by copies that are not finished
        raise AttributeError(f"{type(wrapper).__name__} has no attribute {name!r}")
    return getattr(wrapper.loss, name)
