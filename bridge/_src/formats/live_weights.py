"""The variables of a live Keras model, found by the names of the layers' attributes."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Self

import numpy as np

from bridge._src.description.config import canonical
from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerRecord
from bridge._src.description.identity import keras_of, key_of, stand_in
from bridge._src.layers.base import Weight
from bridge._src.module.binding import Stored
from bridge._src.typing import KerasModel, LiveLayer, Variable

#: Layers of Keras 2 that hold their function as an attribute of this name.
_CALLED_BY_ATTRIBUTE = ("TFOpLambda", "SlicingOpLambda")


def build_late_weights(model: KerasModel) -> None:
    """Runs the model once on zeros when a layer inside it has not made its weights yet.

    ``Dense(activation=PReLU())`` makes those of the activation only when it is first called.
    """
    if all(getattr(layer, "built", True) for layer in _all_layers(model)):
        return
    samples = [
        np.zeros(
            [1 if size is None else size for size in tensor.shape], str(_dtype_name(tensor.dtype))
        )
        for tensor in model.inputs
    ]
    model(samples[0] if len(samples) == 1 else samples)


def _all_layers(model: KerasModel) -> list[LiveLayer]:
    flatten = getattr(model, "_flatten_layers", None)
    return list(flatten()) if flatten is not None else list(model.layers)


class LiveSource:
    """The variables of a live layer."""

    def __init__(self, layer: LiveLayer) -> None:
        self.object = layer
        self.trainable = bool(getattr(layer, "trainable", True))

    def own(self, weights: Sequence[Weight], where: str) -> list[Stored]:
        """The layer's variables by attribute name, checked against the variables that Keras lists
        for it.
        """
        if "call" in vars(self.object) and key_of(self.object) not in _CALLED_BY_ATTRIBUTE:
            raise ConversionError(
                f"layer {where} has had its call replaced by another; write a layer of your "
                "own, and register a converter for it (bridge.register_converter)"
            )
        if any(weight.number is not None for weight in weights):
            return [
                self._stored(self.object.weights[weight.number])
                for weight in weights
                if weight.number is not None
            ]
        listed = self._listed()
        known = {id(variable) for variable in listed}
        variables = [self._variable(weight.name, known) for weight in weights]
        if [id(variable) for variable in variables] != [id(variable) for variable in listed]:
            names = [variable.name for variable in listed]
            raise ConversionError(
                f"layer {where} has the weights {names}; its converter expects "
                f"{[weight.name for weight in weights]}"
            )
        return [self._stored(variable) for variable in variables]

    def _variable(self, name: str, known: set[int]) -> Variable:
        # Keras keeps some weights behind a property that may return something else (``kernel`` with
        # LoRA), and Keras 2 calls the kernel of a DepthwiseConv otherwise.
        found = [
            getattr(self.object, spelling, None)
            for spelling in (f"_{name}", name, f"depthwise_{name}")
        ]
        return next((variable for variable in found if id(variable) in known), None)

    def _listed(self) -> list[Variable]:
        for trainable, frozen in (
            ("_trainable_variables", "_non_trainable_variables"),
            ("_trainable_weights", "_non_trainable_weights"),
        ):
            if hasattr(self.object, trainable):
                return [*getattr(self.object, trainable), *getattr(self.object, frozen)]
        return []

    def _stored(self, variable: Variable) -> Stored:
        options = None
        if hasattr(variable, "regularizer"):
            options = {
                name: _serialized_option(getattr(variable, name, None), keras_of(self.object))
                for name in ("regularizer", "constraint")
            }
        shape = tuple(int(size) for size in variable.shape)
        return Stored(
            variable, shape, _dtype_name(variable.dtype), bool(variable.trainable), options
        )

    def child(self, attribute: str) -> Self:
        """The layer that this one holds as ``attribute``."""
        found = getattr(self.object, attribute, None)
        return type(self)(getattr(self.object, f"_{attribute}") if found is None else found)

    def item(self, attribute: str, position: int, saved_name: str) -> Self:
        """The layer at ``position`` of a list."""
        return type(self)(getattr(self.object, attribute)[position])

    def layer(self, record: LayerRecord) -> Self:
        """The layer of this name."""
        return type(self)(self.object.get_layer(record.name))

    def read(self, stored: Stored) -> np.ndarray:
        """A copy of the variable's values."""
        return values_of(stored.handle)


def values_of(variable: Variable) -> np.ndarray:
    """A copy of the values of a live variable."""
    # In two steps: NumPy's copying conversion warns on Keras variables, and the other one may
    # share memory.
    return np.array(np.asarray(variable))


def check_complete(model: KerasModel, handles: Sequence[Variable]) -> None:
    """Raises :class:`ConversionError` unless ``handles`` are exactly the weights of ``model``."""
    known = {id(handle) for handle in handles}
    missed = [
        getattr(weight, "path", weight.name) for weight in model.weights if id(weight) not in known
    ]
    if missed or len(handles) != len(model.weights):
        raise ConversionError(
            f"model {model.name!r} has {len(model.weights)} weights, the conversion found "
            f"{len(handles)}; not found: {missed}"
        )


def _serialized_option(held: Any, keras: ModuleType) -> Any:
    """A regularizer or constraint as Keras serializes it; one of the user's that has no
    configuration has a stand-in.
    """
    try:
        return canonical(keras.saving.serialize_keras_object(held))
    except Exception:  # noqa: BLE001 - a user's get_config may raise anything
        return stand_in(held)


def _dtype_name(dtype: Any) -> str:
    return dtype if isinstance(dtype, str) else dtype.name
