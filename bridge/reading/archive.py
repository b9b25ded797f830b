"""Reading a ``.keras`` file without Keras: a zip of ``config.json`` and ``model.weights.h5``.

Files may come from strangers: nothing in them is executed or imported, nothing is unpacked to disk, and every
size is checked against what the file really holds before memory is reserved.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from bridge.binding import Stored
from bridge.errors import ConversionError
from bridge.graph import LayerGraph, LayerRecord
from bridge.layers.base import Weight
from bridge.reading.config import canonical, read_graph
from bridge.reading.hdf5 import group_at, read_dataset, stored_weights

CONFIG, WEIGHTS = "config.json", "model.weights.h5"

#: Deflate cannot shrink data further than this; a member that claims more is no honest file (zlib's documentation).
_MAX_EXPANSION = 1032
#: Larger configurations than this are not written by Keras; parsing takes some ten times the memory.
_MAX_CONFIG_BYTES = 1 << 28


def members(path: str | Path) -> dict[str, bytes]:
    """The configuration and the weights file inside the ``.keras`` archive at ``path``.

    Raises:
        ConversionError: when the file is missing, truncated, or no ``.keras`` archive.
    """
    path = Path(path)
    if path.is_dir():
        raise ConversionError(f"{path} is a folder; give the .keras file that model.save('model.keras') writes")
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _member(archive, name, path) for name in (CONFIG, WEIGHTS)}
    except FileNotFoundError:
        raise ConversionError(f"there is no file {path}; give the path of a model saved with model.save('model.keras')") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ConversionError(
            f"{path} is not a complete .keras archive ({error}); save the model again with model.save('model.keras')"
        ) from None
    except OSError as error:
        raise ConversionError(f"{path} cannot be read ({error.strerror or error})") from None


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        problem = "holds no" if not found else "holds more than one"
        raise ConversionError(f"{path} {problem} {name}, so it is not a .keras archive; save the model with model.save('model.keras')")
    info = found[0]
    if info.file_size > _MAX_EXPANSION * max(info.compress_size, 1) or info.compress_size > path.stat().st_size:
        raise ConversionError(
            f"{path}: {name} claims {info.file_size} bytes but stores {info.compress_size}; the file is damaged or hostile"
        )
    if name == CONFIG and info.file_size > _MAX_CONFIG_BYTES:
        raise ConversionError(f"{path}: {name} has {info.file_size} bytes, more than any model needs")
    return archive.read(info)


def read_config(data: bytes, path: str | Path) -> LayerGraph:
    """The layer graph in a ``config.json``."""
    try:
        serialized = json.loads(data)
        if not isinstance(serialized, Mapping):
            raise ConversionError(f"{path}: {CONFIG} does not describe a model")
        return read_graph(canonical(serialized))
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}", error.refusals) from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ConversionError(
            f"{path}: {CONFIG} is damaged or not written by Keras 3 ({type(error).__name__}: {error}); save the model again"
        ) from None


@contextmanager
def open_weights(data: bytes, path: str | Path) -> Iterator[h5py.File]:
    """The weights file, opened for reading in memory."""
    try:
        file = h5py.File(io.BytesIO(data), "r")
    except OSError as error:
        raise ConversionError(f"{path}: {WEIGHTS} is truncated or no HDF5 file ({error}); save the model again") from None
    with file:
        try:
            yield file
        except ConversionError as error:
            raise ConversionError(f"{path}: {error}") from None


class ArchiveSource:
    """The weights of a layer in the group ``group`` of a weights file."""

    def __init__(self, file: h5py.File, group: str = "") -> None:
        self.file, self.group = file, group
        self.trainable = True  # files say it in the configuration

    def own(self, weights: Sequence[Weight], where: str) -> list[Stored]:
        """The datasets ``vars/0``, ``vars/1``, … of the group."""
        names = stored_weights(self.file, self.group)
        if len(names) != len(weights):
            expected = [weight.name for weight in weights]
            raise ConversionError(
                f"layer {where} stores {len(names)} weights in {self.group}/vars, expected {len(expected)} {expected}; "
                "run the model on data once, so that all weights exist, and save it again"
            )
        return [self._stored(name, weight) for name, weight in zip(names, weights, strict=True)]

    def _stored(self, name: str, weight: Weight) -> Stored:
        dataset = self.file[name]
        dtype = "bfloat16" if dataset.attrs.get("dtype") == "bfloat16" else dataset.dtype.name
        return Stored(name, tuple(dataset.shape), dtype, weight.trainable)

    def child(self, attribute: str) -> Self:
        """The group of the inner layer that the layer holds as ``attribute``."""
        return type(self)(self.file, f"{self.group}/{attribute}".lstrip("/"))

    def layer(self, record: LayerRecord) -> Self:
        """The group of a layer of the model; its stored name has to be the layer's."""
        inner = self.child(f"layers/{record.saved_name}")
        group = group_at(self.file, inner.group)
        stored = group["vars"].attrs.get("name") if group is not None and "vars" in group else None
        if stored is not None and stored != record.name:
            raise ConversionError(
                f"the weights in {inner.group} belong to a layer {stored!r}, but {CONFIG} has {record.name!r} there "
                "(a layer used twice in a Sequential is not saved faithfully by Keras)"
            )
        return inner

    def read(self, stored: Stored) -> np.ndarray:
        """The values of a dataset."""
        return read_dataset(self.file, stored.handle)


def check_complete(file: h5py.File, handles: Sequence[str]) -> None:
    """Raises :class:`ConversionError` when the weights file holds weights of layers that no entry names."""
    known, extra = set(handles), []

    def visit(name: str, found: Any) -> None:
        inside = name.split("/")
        if isinstance(found, h5py.Dataset) and inside[0] == "layers" and "seed_generator" not in inside and name not in known:
            extra.append(name)

    file.visititems(visit)
    if extra:
        raise ConversionError(f"the weights {extra[:8]} belong to no layer of {CONFIG}")
