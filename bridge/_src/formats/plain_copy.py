"""A copy of a stranger's model file that holds nothing but what was read and accepted, for Keras to
load.

Keras has executed code of files, and read other files that they named, in many versions and many
ways; each time where a file held something that no honest file does. What Keras is given here was
written by us: classes of Keras' own (or registered by the user), options that were checked, and
numbers.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from bridge._src.description.errors import ConversionError
from bridge._src.formats.archive import CONFIG, METADATA, WEIGHTS, Archive
from bridge._src.formats.description import parse
from bridge._src.formats.hdf5_copy import copy_hdf5
from bridge._src.formats.legacy_h5 import LegacyFile
from bridge._src.formats.model_file import ModelFile
from bridge._src.typing import Config, Serialized
from lmjax._src.runtime.optional import needed

#: Modules of Keras that hold classes and functions of models, and what Keras writes for its own
#: functions.
_MODULES = re.compile(
    r"(builtins|(tf_)?keras(\.(layers|models|initializers|regularizers|constraints|dtype_policies|activations|ops|src\..*))?)"
)
#: Classes whose configuration is code, or the name of something to be imported.
_CODE = (
    "__lambda__",
    "Lambda",
    "__typespec__",
    "JaxLayer",
    "FlaxLayer",
    "TFSMLayer",
    "TorchModuleWrapper",
)
#: Ends of the names of options that only concern training; without them Keras takes its defaults.
_OF_TRAINING = ("_initializer", "_regularizer", "_constraint", "compile_config")
#: Groups that a model does not need to predict.
_NOT_COPIED = ("optimizer", "optimizer_weights")


def write_plain_copy(file: ModelFile, folder: Path) -> Path:
    """Writes such a copy of a ``.keras`` or HDF5 file, whose model was accepted, into ``folder``.

    Raises:
        ConversionError: when its configuration names code, or something that is neither Keras' own
            nor registered.
    """
    is_archive = isinstance(file, Archive)
    copy = folder / ("model.keras" if is_archive else "model.h5")
    if isinstance(file, Archive):
        _write_archive(file, copy)
    elif isinstance(file, LegacyFile):
        _write_hdf5(file, copy)
    return copy


def _write_archive(file: Archive, copy: Path) -> None:
    config, metadata = file.configuration(CONFIG), file.configuration(METADATA)
    weights = copy.with_name(WEIGHTS)
    with file.weights() as stored:
        copy_hdf5(stored, weights, without=_NOT_COPIED)
    with zipfile.ZipFile(copy, "w") as target:
        target.writestr(CONFIG, json.dumps(_plain(config, str(file.path))))
        target.writestr(METADATA, json.dumps({"keras_version": str(metadata.get("keras_version"))}))
        target.write(weights, WEIGHTS)
    weights.unlink()


def _write_hdf5(file: LegacyFile, copy: Path) -> None:
    with file.refusing(file.path):
        config = parse(file.root.attribute("model_config"), f"{file.path}: model_config")
        copy_hdf5(
            file.root,
            copy,
            without=_NOT_COPIED,
            attributes={"model_config": json.dumps(_plain(config, str(file.path)))},
        )


def _plain(value: Serialized, origin: str) -> Serialized:
    """A configuration without options of training, all of whose classes are accepted ones."""
    if isinstance(value, Mapping):
        if "class_name" in value:
            _check_class(value, origin)
        return {
            key: _plain(item, origin)
            for key, item in value.items()
            if not str(key).endswith(_OF_TRAINING)
        }
    return [_plain(item, origin) for item in value] if isinstance(value, list) else value


def _check_class(serialized: Config, origin: str) -> None:
    keras = needed("keras", "keras", "a copy of a file for Keras")
    name, module, registered = (
        str(serialized.get(key) or "") for key in ("class_name", "module", "registered_name")
    )
    known = keras.saving.get_custom_objects()
    if {name, registered} & set(known):
        return
    if name in _CODE or (module and not _MODULES.fullmatch(module)):
        raise ConversionError(
            f"{origin}: it holds {name} of {module or 'no module'}, which is neither "
            "Keras' own nor registered"
        )
