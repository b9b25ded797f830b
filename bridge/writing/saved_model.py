"""Models as TensorFlow SavedModels, for TensorFlow Serving and the like."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from bridge.errors import ConversionError
from bridge.reading import files, live
from bridge.writing.remains import make_folder, remove_remains


def export(model: Any, folder: str | os.PathLike[str]) -> Path:
    """Writes a Keras model as a TensorFlow SavedModel, whose ``serve`` function predicts; Keras itself does the work.

    Needs TensorFlow, which this imports: for a file it makes Keras use TensorFlow where no backend is chosen yet.

    Args:
        model: A live Keras model (of Keras 3 or ``tf_keras``), or the path of a ``.keras`` or ``.h5`` file, which is
            loaded in Keras' safe mode.
        folder: What is to be made; it must not exist yet.

    Returns:
        The folder.

    Raises:
        ConversionError: TensorFlow is missing, the folder exists or cannot be made, or the file is no model. Nothing is
            left behind then.
    """
    target = Path(folder)
    if importlib.util.find_spec("tensorflow") is None:
        raise ConversionError("a SavedModel is written by TensorFlow, which is not installed: pip install 'lmjax[tensorflow]'")
    if os.path.lexists(target):
        raise ConversionError(f"{target} exists already; give the name of a folder to be made")
    loaded = model if live.is_keras_model(model) else _load(Path(model))
    place = Path(os.path.realpath(target))
    remove_remains(place.parent)
    held, beside = None, None
    try:
        held, beside = make_folder(place.parent)
        loaded.export(str(beside / "model"))
        os.replace(beside / "model", place)
    except OSError as error:
        raise ConversionError(f"{target} cannot be made ({error.strerror}); give a path in a folder that you may write to") from None
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
        if held is not None:
            os.close(held)
    return target


def _load(path: Path) -> Any:
    files.read_description(path)  # refuses what is no model, or no honest one, before Keras opens it
    if path.suffix == ".lmjax":
        raise ConversionError(f"{path} is a bundle; unpack it into its model file first, and export that")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)
