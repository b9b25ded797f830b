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
from typing import Any

from bridge._src.description.errors import ConversionError
from bridge._src.formats import archive
from bridge._src.formats.description import parse
from bridge._src.formats.hdf5_copy import copy_hdf5
from bridge._src.formats.keras_hdf5 import opened
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


def write_plain_copy(path: Path, folder: Path) -> Path:
    """Writes such a copy of the ``.keras`` or HDF5 file at ``path``, whose model was accepted, into
    ``folder``.

    Raises:
        ConversionError: when its configuration names code, or something that is neither Keras' own
            nor registered.
    """
    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\3\4"
    copy = folder / ("model.keras" if is_archive else "model.h5")
    (_write_archive if is_archive else _write_hdf5)(path, copy)
    return copy


def _write_archive(path: Path, copy: Path) -> None:
    members = archive.members(path, (archive.CONFIG, archive.METADATA))
    config, metadata = (
        dict(parse(members[name], f"{path}: {name}")) for name in (archive.CONFIG, archive.METADATA)
    )
    weights = copy.with_name(archive.WEIGHTS)
    with archive.weights_of(path) as file:
        copy_hdf5(file, weights, without=_NOT_COPIED)
    with zipfile.ZipFile(copy, "w") as target:
        target.writestr(archive.CONFIG, json.dumps(_plain(config, str(path))))
        target.writestr(
            archive.METADATA, json.dumps({"keras_version": str(metadata.get("keras_version"))})
        )
        target.write(weights, archive.WEIGHTS)
    weights.unlink()


def _write_hdf5(path: Path, copy: Path) -> None:
    with opened(path, str(path)) as file:
        config = parse(file.attribute("model_config"), f"{path}: model_config")
        copy_hdf5(
            file,
            copy,
            without=_NOT_COPIED,
            attributes={"model_config": json.dumps(_plain(config, str(path)))},
        )


def _plain(value: Any, origin: str) -> Any:
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


def _check_class(serialized: Mapping[str, Any], origin: str) -> None:
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
