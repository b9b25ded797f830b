"""``pack`` makes a portable bundle of a Keras model; ``unpack`` brings the weights that were
trained in it home.
"""

from __future__ import annotations

import os
from pathlib import Path

from bridge._src.conversion.convert import Reading, assembled, read, read_file
from bridge._src.conversion.save import check_kinds, save_read
from bridge._src.conversion.to_keras import bring_home
from bridge._src.description.errors import ConversionError
from bridge._src.description.live_functions import without_functions
from bridge._src.description.weights import nest, same_bits
from bridge._src.formats import live
from bridge._src.formats.bundle_writing import write_bundle
from bridge._src.formats.compiled import serialized_loss
from bridge._src.formats.files import open_model
from bridge._src.formats.output.atomic import replacing
from bridge._src.formats.output.targets import refuse_other_kinds
from bridge._src.module.binding import Bound
from bridge._src.module.build import build
from bridge._src.module.flax_model import FlaxModel
from bridge._src.typing import FilePath, KerasModel, ModelSource
from lmjax._src.typing import Params


def pack(model: ModelSource, path: FilePath, weights: FilePath | None = None) -> Path:
    """Writes a portable bundle, which :func:`bridge.from_keras` reads where neither Keras nor
    TensorFlow is installed.

    Args:
        model: A live Keras model, or the path of a ``.keras`` or ``.h5`` file.
        path: Where the bundle goes; ends in ``.lmjax``.
        weights: A ``.weights.h5`` file to read in place of the model's own weights.

    Returns:
        The path of the bundle.

    Raises:
        ConversionError: when the model cannot be converted, or the bundle cannot be written.

    Example:
        >>> import keras
        >>> import lmjax.keras
        >>> layers = [keras.Input((2,)), keras.layers.Dense(1, name="out")]
        >>> lmjax.keras.pack(keras.Sequential(layers), "model.lmjax").name
        'model.lmjax'
        >>> lmjax.keras.from_keras("model.lmjax").params["out"]["kernel"].shape
        (2, 1)
    """
    target = Path(path)
    if target.suffix != ".lmjax":
        raise ConversionError(f"path {target} must end in .lmjax")
    refuse_other_kinds(target, model if isinstance(model, (str, os.PathLike)) else None, weights)
    reading = read(model, weights)
    description = reading.description
    if live.is_keras_model(model):
        description = description._replace(
            model=without_functions(description.model), loss=serialized_loss(model)
        )
        # Layers that need the live model are refused now, not where they are missing.
        build(description.graph(f"model {model.name!r}"))
    with replacing(target) as file:
        write_bundle(file, description, reading.bound.table, reading.bound.values)
    return target


def unpack(
    bundle: FilePath | Params, original: ModelSource, target: FilePath | None = None
) -> KerasModel | Path:
    """Writes the weights of a bundle back into the model that it was packed from.

    Args:
        bundle: Path of a ``.lmjax`` file; or trained parameters, or a :class:`bridge.FlaxModel`.
        original: The file that was packed, or a live model with its architecture and frozen
            weights.
        target: Where a copy of the file ``original`` with the new weights goes; None for a live
            model, which gets them in place.

    Returns:
        The path of the copy, or the live model.

    Raises:
        ConversionError: when the bundle is not one of this model: other weights, other shapes, or
            other values of frozen weights. Nothing is written then.

    Example:
        Weights that were trained in the bundle, here elsewhere, come home.

        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
        >>> bundle = lmjax.keras.pack(model, "model.lmjax")
        >>> trained = lmjax.keras.from_keras(bundle).params
        >>> trained["out"]["bias"] = np.array([3.0])
        >>> fitted = lmjax.keras.save(trained, bundle, "fitted.lmjax")
        >>> lmjax.keras.unpack(fitted, model) is model
        True
        >>> model.get_layer("out").get_weights()[1]
        array([3.], dtype=float32)
    """
    is_live = live.is_keras_model(original)
    if is_live != (target is None):
        raise ConversionError(
            "target must be given for a model file, and only for one; a live model gets "
            "its weights in place"
        )
    if target is None:
        reading = read(original)
        params = _trained(bundle, reading, original.name)
        params = params.params if isinstance(params, FlaxModel) else params
        return bring_home(assembled(reading), params, original)
    with open_model(original) as file:
        check_kinds(file, Path(target))
        refuse_other_kinds(Path(target), bundle if isinstance(bundle, (str, os.PathLike)) else None)
        reading = read_file(file)
        return save_read(_trained(bundle, reading, str(original)), reading, file, Path(target))


def _trained(bundle: FilePath | Params, home: Reading, name: str) -> Params:
    """The parameters in a bundle, which has to be one of the model that was read."""
    if not isinstance(bundle, (str, os.PathLike)):
        return bundle
    trained = read(bundle).bound
    _check_frozen(bundle, trained, home.bound, name)
    return nest({entry.path: trained.values[entry.path] for entry in trained.table.trainable})


def _check_frozen(bundle: FilePath, trained: Bound, home: Bound, name: str) -> None:
    """The trained weights are worth nothing beside other frozen ones."""
    for entry in trained.table.frozen:
        here, there = trained.values[entry.path], home.values.get(entry.path)
        if (
            there is None
            or here.shape != there.shape
            or here.dtype != there.dtype
            or not same_bits(here, there)
        ):
            raise ConversionError(
                f"{bundle} was not packed from {name}: their frozen weights {entry.name} differ"
            )
