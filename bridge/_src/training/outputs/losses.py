"""The losses of a model's outputs and their weights, as ``compile`` takes them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from bridge._src.description.graph import LayerGraph, TensorRef
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.training.outputs.structure import Output, outputs_of, over_outputs
from lmjax._src.objectives.losses.loss import Loss


@dataclasses.dataclass(frozen=True)
class OutputLoss:
    """The loss of one output."""

    output: Output
    place: int  #: among all outputs of the model
    loss: Loss
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class OutputLosses:
    """The losses of all outputs that have one; their weighted sum is lowered."""

    parts: tuple[OutputLoss, ...]
    layers: tuple[str, ...]  #: Keras' names of all outputs of the model

    @property
    def refs(self) -> tuple[TensorRef, ...]:
        """The outputs with a loss."""
        return tuple(part.output.ref for part in self.parts)


def losses_of_outputs(
    loss: Any,
    weights: Any,
    graph: KerasGraph | LayerGraph | None,
    one: Callable[[Any], Loss],
    layers: Sequence[str] = (),
) -> Loss | OutputLosses:
    """The loss of a model with one output, or the losses of several; with ``weights`` of losses
    always the latter.

    Args:
        loss: what ``compile`` takes: one for all outputs, or a list or dictionary of them, None
            where an output has no loss.
        weights: ``loss_weights`` alike, or None.
        graph: the model; without it there is one output.
        one: makes the loss of one output of what stands for it.
        layers: Keras' names of the outputs, if not those of their layers.

    Raises:
        TypeError: losses or weights do not fit to the outputs.
        ValueError: no output has a loss, or a weight is no number of at least 0; and as ``one``,
            naming the output.
    """
    outputs = [] if graph is None else outputs_of(graph)
    if graph is None or (len(outputs) == 1 and weights is None):
        return one(loss)
    layers = layers if len(layers) == len(outputs) else [output.layer for output in outputs]
    if len(outputs) == 1:
        losses, factors = [loss], [_of_the_one(weights)]
    else:
        losses = over_outputs(loss, graph, "loss", layers)
        factors = over_outputs(weights, graph, "loss_weights", layers)
    parts = []
    for place, (output, given, factor) in enumerate(zip(outputs, losses, factors, strict=True)):
        if given is not None:
            made = one(given) if len(outputs) == 1 else _named(one, given, output)
            parts.append(OutputLoss(output, place, made, _checked(factor, output)))
    if not parts:
        raise ValueError("loss: no output of the model has a loss, so there is nothing to fit")
    return OutputLosses(tuple(parts), tuple(layers))


def _named(one: Callable[[Any], Loss], given: Any, output: Output) -> Loss:
    try:
        return one(given)
    except (TypeError, ValueError) as error:
        said = str(error).removeprefix("loss: ")
        raise type(error)(f"loss of output {output.name!r}: {said}") from None


def _of_the_one(weights: Any) -> Any:
    """The weight out of the list or dictionary of one that it stands in."""
    if isinstance(weights, dict) and len(weights) == 1:
        return next(iter(weights.values()))
    return weights[0] if isinstance(weights, (list, tuple)) and len(weights) == 1 else weights


def _checked(factor: Any, output: Output) -> float:
    if factor is None:
        return 1.0
    if not isinstance(factor, Real) or not math.isfinite(factor) or factor < 0:
        raise ValueError(
            f"loss_weights: expected a number of at least 0 for output {output.name!r}, got "
            f"{factor!r}"
        )
    return float(factor)
