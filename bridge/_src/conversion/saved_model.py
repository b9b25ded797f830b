"""Models as TensorFlow SavedModels, for TensorFlow Serving and the like."""

from __future__ import annotations

import importlib.util
import inspect
import os
import tempfile
from pathlib import Path

from bridge._src.conversion.convert import read_file
from bridge._src.description.damage import refusing_damage
from bridge._src.description.errors import ConversionError
from bridge._src.formats import live
from bridge._src.formats.files import open_model
from bridge._src.formats.output.remains import temporary_folder
from bridge._src.formats.plain_copy import write_plain_copy
from bridge._src.typing import FilePath, KerasModel, ModelSource
from lmjax._src.runtime.optional import needed


def export(model: ModelSource, folder: FilePath) -> Path:
    """Writes a Keras model as a TensorFlow SavedModel, whose ``serve`` function predicts; Keras
    itself does the work.

    Needs TensorFlow, which this imports: for a file it makes Keras use TensorFlow where no backend
    is chosen yet.

    Args:
        model: A live Keras model (of Keras 3 or ``tf_keras``), or the path of a ``.keras`` or
            ``.h5`` file, which is read and accepted as by :func:`bridge.from_keras` first; Keras
            loads a copy of what was accepted, in its safe mode.
        folder: What is to be made; it must not exist yet.

    Returns:
        The folder.

    Raises:
        ConversionError: TensorFlow is missing, the folder exists or cannot be made, or the file is
            no model. Nothing is left behind then.

    Example:
        What is no model file is refused before TensorFlow is loaded.

        >>> import lmjax.keras
        >>> try:
        ...     folder = lmjax.keras.export("model.lmjax", "served")
        ... except lmjax.keras.ConversionError as error:
        ...     print("refused")
        refused

    A model is served by ``lmjax.keras.export(model, "served")``, and read in TensorFlow by
    ``tf.saved_model.load("served").serve(x)``.
    """
    target = Path(folder)
    if importlib.util.find_spec("tensorflow") is None:
        raise ConversionError(
            "a SavedModel is written by TensorFlow, which is not installed: pip install "
            "'lmjax[tensorflow]'"
        )
    if os.path.lexists(target):
        raise ConversionError(f"{target} exists already; give the name of a folder to be made")
    loaded = model if live.is_keras_model(model) else _load(Path(model))
    place = Path(os.path.realpath(target))
    try:
        with temporary_folder(place.parent) as beside:
            # Keras 3 prints where the folder is, which is where it will not stay.
            options = inspect.signature(loaded.export).parameters
            loaded.export(
                str(beside / "model"), **({"verbose": False} if "verbose" in options else {})
            )
            os.replace(beside / "model", place)
    except OSError as error:
        raise ConversionError(
            f"{target} cannot be made ({error.strerror}); give a path in a folder that "
            "you may write to"
        ) from None
    return target


def _load(path: Path) -> KerasModel:
    """The model in a file, which Keras gets as a copy of what was accepted."""
    if path.suffix == ".lmjax":
        raise ConversionError(
            f"{path} is a bundle; unpack it into its model file first, and export that"
        )
    with open_model(path) as file:
        read_file(file)  # refuses what is no model, no honest one, or cannot be converted
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        keras = needed("keras", "keras", "a SavedModel of a file")
        with tempfile.TemporaryDirectory(prefix="lmjax-") as folder, refusing_damage(str(path)):
            copy = write_plain_copy(file, Path(folder))
            return keras.saving.load_model(copy, compile=False, safe_mode=True)
