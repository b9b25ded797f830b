"""The kinds of files with models, by how they begin and the end of their names, and files with
weights alone.
"""

from __future__ import annotations

import importlib
import os
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from bridge._src.description.damage import refusing_damage
from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph
from bridge._src.formats.model_file import ModelFile
from bridge._src.module.binding import Bound
from bridge._src.module.keras_graph import KerasGraph

#: End of the name of a file with weights alone.
WEIGHTS_ONLY = ".weights.h5"


#: Kinds of files and the classes that read them, imported when they are needed: a bundle is read
#: where h5py is not installed.
_KINDS = {
    ".keras": ("bridge._src.formats.archive", "Archive"),
    ".h5": ("bridge._src.formats.legacy_h5", "LegacyFile"),
    ".hdf5": ("bridge._src.formats.legacy_h5", "LegacyFile"),
    ".lmjax": ("bridge._src.formats.bundle", "Bundle"),
}
#: Whose content may be of the other kind.
_BY_CONTENT = (".keras", ".h5", ".hdf5")

#: How files begin (HDF5 file format specification, "superblock"; PKWARE's APPNOTE, "local file
#: header").
_SIGNATURES = {b"\x89HDF\r\n\x1a\n": ".h5", b"PK\x03\x04": ".keras"}
_BEGINNING = max(map(len, _SIGNATURES))


def open_model(path: str | os.PathLike[str]) -> ModelFile:
    """The model file at ``path``, opened for reading; to be closed.

    Raises:
        ConversionError: when no kind of model file has such a name, or it cannot be opened.
    """
    check_name(path)
    place = Path(path)
    with ExitStack() as opening, refusing_damage(str(path)):
        with _class_of(place.suffix).refusing(place):
            data = opening.enter_context(place.open("rb"))
            kind = _kind_by_content(place.suffix, data.read(_BEGINNING))
            data.seek(0)
        file = _class_of(kind)(place, data)
        opening.pop_all()
        return file


def check_name(path: str | os.PathLike[str]) -> None:
    """Raises :class:`ConversionError` unless a kind of model file has such a name."""
    if str(path).endswith(WEIGHTS_ONLY):
        raise ConversionError(
            f"{path} holds weights only; give the model as well: from_keras(model, "
            f"weights={str(path)!r})"
        )
    if Path(path).suffix not in _KINDS:
        raise ConversionError(
            f"{path} is not a {', '.join(_KINDS)} file; load it with Keras and save it "
            "with model.save('model.keras')"
        )


def _class_of(kind: str) -> type[ModelFile]:
    module, name = _KINDS[kind]
    return cast(type[ModelFile], getattr(importlib.import_module(module), name))


def _kind_by_content(suffix: str, beginning: bytes) -> str:
    if suffix not in _BY_CONTENT:
        return suffix
    found = next(
        (kind for signature, kind in _SIGNATURES.items() if beginning.startswith(signature)), suffix
    )
    return suffix if found == ".h5" and suffix == ".hdf5" else found


def bind_weights_file(path: str | os.PathLike[str], graph: LayerGraph, module: KerasGraph) -> Bound:
    """The weights in a file that holds nothing else, for a model described elsewhere.

    Raises:
        ConversionError: when the file is damaged, or its weights are not those of the model.
    """
    if not str(path).endswith((".h5", ".hdf5")):
        raise ConversionError(f"weights={str(path)!r} must be a {WEIGHTS_ONLY} file")
    from bridge._src.formats import archive, legacy_h5
    from bridge._src.formats.keras_hdf5 import opened

    with opened(Path(path), str(path)) as file:
        if legacy_h5.is_legacy(file):
            return legacy_h5.bind_weights(file, graph, module)
        return archive.bind_weights(file, graph, module, names_agree=False)
