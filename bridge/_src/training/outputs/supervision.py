"""What the targets and weights that a caller gives mean for a model and its losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from bridge._src.module.keras_graph import KerasGraph
from bridge._src.training.outputs.losses import OutputLosses
from bridge._src.training.outputs.structure import as_outputs, outputs_of, over_outputs
from bridge._src.training.targets import as_targets, class_weights, of_one_output
from lmjax._src.arrays.numbers import real_array
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.typing import PyTree


@dataclasses.dataclass(frozen=True)
class Supervision:
    """A model with its losses, and weights of classes or None.

    Targets are an array for a :class:`Loss`, and for :class:`OutputLosses` a list of arrays, one
    for each output with a loss; so are weights, with None for an output without.
    """

    module: KerasGraph
    loss: Loss | OutputLosses
    class_weight: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        """Refuses weights of classes where Keras does."""
        if self.class_weight is not None and len(outputs_of(self.module)) > 1:
            raise ValueError(
                "class_weight: Keras takes it for models with one output only, and this one has "
                f"{len(outputs_of(self.module))}; pass sample_weight, an array for each output"
            )

    def without_classes(self) -> Supervision:
        """The same for data to validate on, where classes have no weights."""
        return dataclasses.replace(self, class_weight=None)

    def targets(self, y: PyTree, name: str) -> PyTree:
        """The targets in ``y``, which is called ``name``.

        Raises:
            TypeError: they do not fit to the outputs.
        """
        if not isinstance(self.loss, OutputLosses):
            return as_targets(y, self.module, name)
        if len(self.loss.layers) == 1:
            return [as_targets(y, self.module, name)]
        found = self._of_parts(y, name)
        parts = self.loss.parts
        missing = [
            repr(part.output.name) for part, one in zip(parts, found, strict=True) if one is None
        ]
        if missing:
            raise TypeError(
                f"{name}: there are no targets for output {', '.join(missing)}; pass them, or give "
                "the output no loss (None)"
            )
        return [
            np.asarray(real_array(one, f"{name} of output {part.output.name!r}"))
            for part, one in zip(parts, found, strict=True)
        ]

    def weights(self, targets: PyTree, sample_weight: PyTree, name: str) -> PyTree:
        """The weights in ``sample_weight``, which is called ``name``, times those of the classes
        that :meth:`targets` name.

        Raises:
            TypeError, ValueError: they do not fit to the outputs, or a class has no weight.
        """
        if not isinstance(self.loss, OutputLosses):
            given = of_one_output(sample_weight, self.module, name)
            return class_weights(self.class_weight, self.loss, targets, given, name)
        if len(self.loss.layers) == 1:
            given = of_one_output(sample_weight, self.module, name)
            loss = self.loss.parts[0].loss
            return [class_weights(self.class_weight, loss, targets[0], given, name)]
        if sample_weight is None:
            return None
        if isinstance(sample_weight, (list, tuple, Mapping)):
            return self._of_parts(sample_weight, name)
        return [sample_weight] * len(self.loss.parts)

    def for_keras(self, targets: PyTree, weights: PyTree) -> tuple[PyTree, PyTree]:
        """What :meth:`targets` and :meth:`weights` have returned in the structure of the model's
        outputs, as ``model.evaluate`` takes them: zeros where an output without a loss has no
        targets, and ones where it has no weights.
        """
        if not isinstance(self.loss, OutputLosses):
            return targets, weights
        rows, places = len(targets[0]), [part.place for part in self.loss.parts]

        def spread(given: list[PyTree], missing: PyTree) -> PyTree:
            known = dict(zip(places, given, strict=True))
            found = [known.get(place) for place in range(len(self.loss.layers))]  # type: ignore[union-attr]
            return as_outputs([missing if one is None else one for one in found], self.module)

        return spread(targets, np.zeros(rows)), (
            None if weights is None else spread(weights, np.ones(rows))
        )

    def _of_parts(self, given: Any, name: str) -> list[Any]:
        """What is ``given`` for each output with a loss; lists may leave out the others, as in
        Keras.
        """
        assert isinstance(self.loss, OutputLosses)
        parts, layers = self.loss.parts, self.loss.layers
        if isinstance(given, (list, tuple)) and len(given) == len(parts) < len(layers):
            return list(given)
        if not isinstance(given, (list, tuple, Mapping)):
            if len(parts) == 1:
                return [given]
            names = ", ".join(repr(part.output.name) for part in parts)
            raise TypeError(
                f"{name}: expected a list or dictionary with one array for each of the outputs "
                f"{names}, got a {type(given).__name__}"
            )
        found = over_outputs(given, self.module, name, layers)
        return [found[part.place] for part in parts]
