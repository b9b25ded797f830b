"""``to_keras``: parameters into a live Keras model, all of them or none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bridge._src.conversion.convert import read
from bridge._src.description.errors import ConversionError
from bridge._src.description.variables import LiveVariables
from bridge._src.description.weights import WeightTable, keep_bits, same_bits
from bridge._src.formats.live import is_keras_model
from bridge._src.formats.live_weights import values_of
from bridge._src.module.flax_model import FlaxModel
from bridge._src.typing import KerasModel, Variable
from lmjax._src.runtime import interrupts
from lmjax._src.typing import Params

#: Attempts to restore a variable before giving up; more than one, since a second Ctrl-C may fall
#: into the first.
_RESTORE_ATTEMPTS = 3


def to_keras(params: Params, keras_model: KerasModel) -> KerasModel:
    """Writes trained parameters into a live Keras model, in place.

    Only trainable weights are written, and of those only the ones whose bits differ; float64 is
    rounded to the variable's dtype once. Ctrl-C takes effect when all are written. A
    :class:`bridge.FlaxModel` knows the variables of the model that it was converted from, which is
    not read again.

    Args:
        params: Nested dictionary shaped like ``from_keras(keras_model).params``, or a
            :class:`bridge.FlaxModel`.
        keras_model: The live model.

    Returns:
        ``keras_model``.

    Raises:
        ConversionError: when a path or shape does not fit; every misfit is listed and nothing is
            written. So it is when the model was changed after it was converted.
        BaseException: whatever interrupts the writing; the model then has its old weights back.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
        >>> params = lmjax.keras.from_keras(model).params
        >>> params["out"]["bias"] = np.array([3.0])
        >>> lmjax.keras.to_keras(params, model) is model
        True
        >>> model.get_layer("out").get_weights()[1]
        array([3.], dtype=float32)
    """
    if not is_keras_model(keras_model):
        raise ConversionError(
            f"keras_model must be a live Keras model, given {type(keras_model).__name__}; "
            "for a file use bridge.save"
        )
    table = _table(params, keras_model)
    new = table.check(
        params.params if isinstance(params, FlaxModel) else params, f"model {keras_model.name!r}"
    )
    writes = []
    for entry in table.trainable:
        old = values_of(entry.handle)
        values = keep_bits(new[entry.path], old)
        if not same_bits(values, old):
            writes.append((entry.handle, values, old))
    with interrupts.watching() as watch:
        watch.patience = math.inf  # whoever wants it to end waits for these milliseconds
        _assign_all(writes)
    return keras_model


def bring_home(converted: FlaxModel, params: Params, keras_model: KerasModel) -> KerasModel:
    """:func:`to_keras` of ``params`` into the very model that ``converted`` was read from.

    Raises:
        ConversionError: as :func:`to_keras`, and when the model has other variables by now.
    """
    variables = converted.variables
    if variables is None or not variables.are_of(LiveVariables.of(keras_model)):
        raise _changed(keras_model)
    return to_keras(replace(converted, params=params), keras_model)


def _table(params: Params, keras_model: KerasModel) -> WeightTable:
    """The weights of the live model: those that were found when ``params`` were read from it; a
    model that ``params`` did not come from is read.

    Raises:
        ConversionError: the model that they were read from has some other variables by now.
    """
    if isinstance(params, FlaxModel) and params.variables is not None:
        now = LiveVariables.of(keras_model)
        if params.variables.are_of(now):
            return params.table
        if params.variables.meet(now):
            raise _changed(keras_model)
    return read(keras_model).bound.table


def _changed(keras_model: KerasModel) -> ConversionError:
    return ConversionError(
        f"model {keras_model.name!r} was changed since it was converted: layers were added, "
        "removed, built anew, frozen or freed; nothing was written. Convert it again, or leave it "
        "as it is until its weights are written back"
    )


def _assign_all(writes: list[tuple[Variable, np.ndarray, np.ndarray]]) -> None:
    started = 0
    try:
        for started, (variable, values, _) in enumerate(writes, start=1):  # noqa: B007 - read when the loop is left early
            variable.assign(values)
    except BaseException:
        for variable, _, values in writes[:started]:
            _restore(variable, values)
        raise


def _restore(variable: Variable, values: np.ndarray) -> None:
    for attempt in range(_RESTORE_ATTEMPTS):
        try:
            variable.assign(values)
            return
        except BaseException:  # a second Ctrl-C must not leave the model half restored
            if attempt == _RESTORE_ATTEMPTS - 1:
                raise
