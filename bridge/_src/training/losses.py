"""The loss that a Keras model was compiled with, as a loss that Levenberg-Marquardt can lower."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from bridge._src.description.graph import LayerGraph, references
from bridge._src.description.identity import described, is_own, key_of
from bridge._src.formats.compiled import compiled_loss, is_compiled, loss_options, own_training
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.training.outputs.combined_loss import CombinedLoss
from bridge._src.training.outputs.keras_losses import called_by_jax
from bridge._src.training.outputs.losses import OutputLosses, losses_of_outputs
from bridge._src.training.targets import of_one_output
from bridge._src.typing import KerasModel
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.named import LOSSES, find_loss
from lmjax._src.objectives.losses.over_all import MEANS, OverAll
from lmjax._src.objectives.losses.wrapped import AlongAxis, Reduced

#: The functions' names by those of Keras' loss classes, which lmjax' have, too.
_CLASSES = {type(loss).__name__: name for name, loss in LOSSES.items()}
#: Options of Keras' loss classes that leave the value as it is.
_NEUTRAL = ("dtype", "name", "fn")


def loss_of(model: KerasModel, graph: KerasGraph | None = None) -> Loss | OutputLosses:
    """The loss of a compiled Keras model; with its ``graph`` a loss in a dictionary is found by the
    output's name, as in Keras, and there may be several outputs, and weights of losses.

    Raises:
        TypeError: losses or their weights are for outputs that the model does not have.
        ValueError: the model is not compiled, or its loss cannot be served; the message names the
            loss and says why.
    """
    if not is_compiled(model) or getattr(model, "loss", None) is None:
        raise ValueError(
            "loss: the model is not compiled with a loss; call model.compile(loss=...) "
            "first, or pass loss= to bridge.fit"
        )
    own = own_training(model)
    if own:
        raise ValueError(
            f"loss: the model's class {type(model).__name__} has a {' and a '.join(own)} of "
            "its own, which Levenberg-Marquardt does not follow; pass loss= to train by a loss "
            "of Keras' instead"
        )
    # Keras 3 and Keras 2.
    compiled = [getattr(model, name, None) for name in ("_compile_loss", "compiled_loss")]
    weights = [getattr(loss, "_user_loss_weights", None) for loss in compiled]
    return losses_of_outputs(
        compiled_loss(model),
        next((given for given in weights if given is not None), None),
        graph,
        partial(as_loss, graph=graph),
        list(getattr(model, "output_names", None) or ()),
    )


def as_losses(loss: Any, graph: KerasGraph) -> Loss | OutputLosses:
    """As :func:`as_loss`, for a model with one output or several, which has the ``graph``: one for
    all outputs, or a list or dictionary of them.
    """
    return losses_of_outputs(loss, None, graph, partial(as_loss, graph=graph))


def as_loss(loss: Any, graph: KerasGraph | None = None) -> Loss:
    """A Keras loss (name, function, class, object) or one of lmjax' own as a loss of
    :mod:`lmjax.losses`.

    Raises:
        TypeError: as :func:`loss_of`.
        ValueError: Levenberg-Marquardt cannot serve it; the message names the loss.
    """
    loss = _only(loss, graph)
    if isinstance(loss, (list, tuple, dict)):
        raise ValueError(
            f"loss: one loss for one output is served, got {type(loss).__name__} of {len(loss)}"
        )
    if isinstance(loss, str):
        return find_loss(_CLASSES.get(loss, loss))
    if callable(getattr(loss, "root_product", None)):
        return find_loss(loss)
    key = key_of(loss, "losses")
    if not is_own(key):
        return called_by_jax(loss, _not_own(loss))
    if isinstance(loss, type):
        return _from_config(key, {})
    return _from_config(key, loss_options(loss)) if hasattr(loss, "get_config") else find_loss(key)


def from_serialized(loss: Any, graph: LayerGraph | None = None) -> Loss:
    """A loss as ``config.json`` in a ``.keras`` file describes it: a name, or the class or function
    with its options.

    Raises:
        TypeError: as :func:`loss_of`.
        ValueError: Levenberg-Marquardt cannot serve it; the message names the loss.
    """
    loss = _only(loss, graph)
    if not _is_serialized(loss):
        return as_loss(loss)
    key, config = key_of(loss, "losses"), loss.get("config")
    if not is_own(key):
        raise _not_own(loss)
    return _from_config(key, dict(config)) if isinstance(config, dict) else as_loss(key)


def serialized_losses(loss: Any, weights: Any, graph: LayerGraph) -> Loss | OutputLosses:
    """As :func:`from_serialized`, for a model with one output or several, which has the ``graph``.

    Args:
        loss: one for all outputs, or a list or dictionary of them, as in ``config.json``.
        weights: ``loss_weights`` there, or None.
        graph: the model.
    """
    several = len(list(references(graph.outputs))) > 1
    return losses_of_outputs(
        _mapped(lambda one: _Serialized(one) if _is_serialized(one) else one, loss)
        if several
        else loss,
        weights,
        graph,
        lambda one: from_serialized(one.loss if isinstance(one, _Serialized) else one, graph),
    )


@dataclasses.dataclass(frozen=True)
class _Serialized:
    """A serialized loss, which is a dictionary and does not stand for several."""

    loss: dict[str, Any]


def _mapped(function: Callable[[Any], Any], losses: Any) -> Any:
    if isinstance(losses, list):
        return [_mapped(function, loss) for loss in losses]
    if isinstance(losses, dict) and not _is_serialized(losses):
        return {name: _mapped(function, loss) for name, loss in losses.items()}
    return function(losses)


def _only(loss: Any, graph: KerasGraph | LayerGraph | None) -> Any:
    """A loss out of the list of one, or the dictionary of the one output, that it stands in."""
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        return loss[0]
    if (
        graph is None
        or len(list(references(graph.outputs))) > 1
        or not isinstance(loss, dict)
        or _is_serialized(loss)
    ):
        return loss
    return of_one_output(loss, graph, "loss")


def _is_serialized(loss: Any) -> bool:
    return isinstance(loss, dict) and "class_name" in loss


def _not_own(loss: Any) -> ValueError:
    return ValueError(
        f"loss: {described(loss, 'losses')} is not Keras' own, whatever its name, and "
        f"Levenberg-Marquardt cannot serve it; pass loss= one of {', '.join(sorted(LOSSES))}, "
        "or one of your own: of a function (lmjax.losses.Residuals, lmjax.losses.Convex), or with "
        "the methods of lmjax.extend.Loss; docs/losses.md shows each"
    )


def _from_config(name: str, config: dict[str, Any]) -> Loss:
    """The loss of a Keras class: its fields are the options that are served, named as in Keras;
    the reduction and the axis are those of any loss.
    """
    if name not in _CLASSES:
        return find_loss(name)  # raises, naming the loss and what there is
    plain = find_loss(_CLASSES[name])
    kind: Any = type(plain)
    reduction, axis = config.pop("reduction", MEANS[0]), config.pop("axis", -1)
    served = {}
    for field in dataclasses.fields(kind):
        value = config.pop(field.name, None)
        if value is not None:
            default = getattr(plain, field.name)
            served[field.name] = value if default is None else type(default)(value)
    for option, value in config.items():
        if option not in _NEUTRAL and value is not None:
            raise ValueError(
                f"loss: {name} with {option}={value!r} is not served; leave that option "
                "at its default"
            )
    loss: Loss = kind(**served)
    if axis != -1:
        if "Categorical" in name and served.get("label_smoothing"):
            raise ValueError(
                f"loss: {name} with axis={axis} and label_smoothing is not served, since Keras "
                "counts the classes along the last axis all the same; smooth the targets yourself"
            )
        loss = cast("Loss", AlongAxis(loss, axis))
    if reduction in MEANS:
        return loss
    return cast("Loss", Reduced(loss, "none" if reduction is None else reduction))


def check_unmasked(loss: Loss) -> None:
    """Checks that ``loss`` can go with a mask of the outputs, which counts steps by itself.

    Raises:
        ValueError: it counts them, too.
    """
    if isinstance(loss, CombinedLoss):
        for part in loss.parts_of_row:
            check_unmasked(part.loss)
        return
    reduction = getattr(loss, "reduction", MEANS[0])
    if reduction == "sum" or (OverAll(loss).needed and reduction in MEANS):
        what = "reduction='sum'" if reduction == "sum" else "ignore_class"
        raise ValueError(
            f"loss: {what} together with a mask of the output (Masking, mask_zero) is not served; "
            "pass the steps that count as sample_weight of a model without the mask"
        )
