"""The kinds of files with models, by how they begin and the end of their names, and files with
weights alone.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Protocol, cast

from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph
from bridge._src.formats.description import Description
from bridge._src.module.binding import Bound
from bridge._src.module.keras_graph import KerasGraph

#: End of the name of a file with weights alone.
WEIGHTS_ONLY = ".weights.h5"


class Reader(Protocol):
    """How a kind of file is read."""

    def read_description(self, path: str | Path, /) -> Description:
        """What the file says of its model, weights apart."""

    def bind_file(self, path: str | Path, graph: LayerGraph, module: KerasGraph, /) -> Bound:
        """The weights in the file."""


#: Modules, imported when they are needed: a bundle is read where h5py is not installed.
_READERS = {
    ".keras": "bridge._src.formats.archive",
    ".h5": "bridge._src.formats.legacy_h5",
    ".hdf5": "bridge._src.formats.legacy_h5",
    ".lmjax": "bridge._src.formats.bundle",
}

#: How files begin (HDF5 file format specification, "superblock"; PKWARE's APPNOTE, "local file
#: header").
_SIGNATURES = {b"\x89HDF\r\n\x1a\n": ".h5", b"PK\x03\x04": ".keras"}


def reader_of(path: str | Path) -> Reader:
    """The reader of the file at ``path``.

    Raises:
        ConversionError: when no kind of model file has such a name.
    """
    if str(path).endswith(WEIGHTS_ONLY):
        raise ConversionError(
            f"{path} holds weights only; give the model as well: from_keras(model, "
            f"weights={str(path)!r})"
        )
    module = _READERS.get(kind_of(path))
    if module is None:
        raise ConversionError(
            f"{path} is not a {', '.join(_READERS)} file; load it with Keras and save it "
            "with model.save('model.keras')"
        )
    return cast(Reader, importlib.import_module(module))


def kind_of(path: str | Path) -> str:
    """The end of the name that fits the content: Keras 2 wrote HDF5 under any name, ``best.keras``
    too; else that of ``path``.
    """
    suffix = Path(path).suffix
    if suffix not in (".keras", ".h5", ".hdf5") or not Path(path).is_file():
        return suffix
    try:
        with Path(path).open("rb") as file:
            first = file.read(max(map(len, _SIGNATURES)))
    except OSError:
        return suffix  # whoever reads the file says what is wrong with it
    found = next(
        (kind for signature, kind in _SIGNATURES.items() if first.startswith(signature)), suffix
    )
    return suffix if found == ".h5" and suffix == ".hdf5" else found


def read_description(path: str | Path) -> Description:
    """What the model file at ``path`` says of its model."""
    return reader_of(path).read_description(path)


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
