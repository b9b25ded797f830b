"""Reading a ``.keras`` file without Keras: a zip of ``config.json`` and ``model.weights.h5``.

Files may come from strangers: nothing in them is executed or imported, nothing is unpacked to disk,
and every size is checked against what the file really holds before memory is reserved.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

import numpy as np

from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph, LayerRecord
from bridge._src.formats.description import MAX_CONFIG_BYTES, Description, describe, parse
from bridge._src.formats.keras_hdf5 import (
    dataset_at,
    group_at,
    opened,
    read_dataset,
    stored_dtype,
    stored_weights,
)
from bridge._src.formats.model_file import ModelFile
from bridge._src.hdf5.nodes import File
from bridge._src.hdf5.objects import is_hdf5
from bridge._src.hdf5.source import MAX_EXPANSION
from bridge._src.layers.base import Weight
from bridge._src.module.binding import Bound, Stored, bind
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.typing import Config

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"


class Archive(ModelFile):
    """A ``.keras`` archive."""

    kind = ".keras"

    def __init__(self, path: Path, data: IO[bytes]) -> None:
        super().__init__(path, data)
        with self.refusing(path):
            self.zip = zipfile.ZipFile(data)

    @staticmethod
    @contextmanager
    def refusing(path: Path) -> Iterator[None]:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        if path.is_dir():
            raise ConversionError(
                f"{path} is a folder; give the .keras file that model.save('model.keras') writes"
            )
        try:
            yield
        except FileNotFoundError:
            raise ConversionError(
                f"there is no file {path}; give the path of a model saved with "
                "model.save('model.keras')"
            ) from None
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise ConversionError(
                f"{path} is not a complete .keras archive ({error}); save the model again "
                "with model.save('model.keras')"
            ) from None
        except OSError as error:
            raise ConversionError(f"{path} cannot be read ({error.strerror or error})") from None

    def describe(self) -> Description:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        config = self.configuration(CONFIG)
        stated = METADATA in self.zip.namelist()
        version = self.configuration(METADATA).get("keras_version") if stated else None
        return describe(config, config.get("compile_config"), str(version), str(self.path))

    def bind(self, graph: LayerGraph, module: KerasGraph) -> Bound:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        with self.weights() as file:
            return bind_weights(file, graph, module)

    def configuration(self, name: str) -> Config:
        """The JSON in the member ``name``."""
        return parse(self.member(name), f"{self.path}: {name}")

    @contextmanager
    def weights(self) -> Iterator[File]:
        """The file of weights inside the archive, opened for reading."""
        data = io.BytesIO(self.member(WEIGHTS))
        with opened(data, f"{self.path}: {WEIGHTS}", self.size) as file:
            yield file

    def member(self, name: str) -> bytes:
        """The member ``name``.

        Raises:
            ConversionError: when there is none, it is damaged, or has a size that it cannot have.
        """
        with self.refusing(self.path):
            return self._member(name)

    def _member(self, name: str) -> bytes:
        found = [info for info in self.zip.infolist() if info.filename == name]
        if len(found) != 1:
            problem = "holds no" if not found else "holds more than one"
            raise ConversionError(
                f"{self.path} {problem} {name}, so it is not a .keras archive; save the model with "
                "model.save('model.keras')"
            )
        info = found[0]
        if (
            info.file_size > MAX_EXPANSION * max(info.compress_size, 1)
            or info.compress_size > self.size
        ):
            raise ConversionError(
                f"{self.path}: {name} claims {info.file_size} bytes but stores "
                f"{info.compress_size}; the file is damaged or hostile"
            )
        if name != WEIGHTS and info.file_size > MAX_CONFIG_BYTES:
            raise ConversionError(
                f"{self.path}: {name} has {info.file_size} bytes, more than any model needs"
            )
        with self.zip.open(info) as member:
            beginning = member.read(8)
            if name == WEIGHTS and not is_hdf5(beginning):
                raise ConversionError(
                    f"{self.path}: {name} is truncated or no HDF5 file; save the model again"
                )
            return beginning + member.read()


def bind_weights(
    file: File, graph: LayerGraph, module: KerasGraph, names_agree: bool = True
) -> Bound:
    """The weights in an open ``.weights.h5`` file; ``names_agree`` when its layers have to have the
    names of the graph.
    """
    bound = bind(graph, module, ArchiveSource(file, names_agree=names_agree))
    check_complete(file, [*(entry.handle for entry in bound.table), *bound.aliases])
    return bound


class ArchiveSource:
    """The weights of a layer in the group ``group`` of a weights file."""

    def __init__(self, file: File, group: str = "", names_agree: bool = True) -> None:
        self.file, self.group, self.names_agree = file, group, names_agree
        self.trainable = True  # files say it in the configuration

    def own(self, weights: Sequence[Weight], where: str) -> list[Stored]:
        """The datasets ``vars/0``, ``vars/1``, … of the group."""
        names = stored_weights(self.file, self.group)
        if len(names) != len(weights):
            expected = [weight.name for weight in weights]
            raise ConversionError(
                f"layer {where} stores {len(names)} weights in {self.group}/vars, expected "
                f"{len(expected)} {expected}; run the model on data once, so that all weights "
                "exist, and save it again"
            )
        return [self._stored(name, weight) for name, weight in zip(names, weights, strict=True)]

    def _stored(self, name: str, weight: Weight) -> Stored:
        dataset = dataset_at(self.file, name)
        assert dataset is not None
        return Stored(name, dataset.shape, stored_dtype(dataset), weight.trainable)

    def child(self, attribute: str) -> Self:
        """The group of the inner layer that the layer holds as ``attribute``."""
        plain, hidden = (
            f"{self.group}/{name}".lstrip("/") for name in (attribute, f"_{attribute}")
        )
        found = (
            hidden
            if group_at(self.file, plain) is None and group_at(self.file, hidden) is not None
            else plain
        )
        return type(self)(self.file, found, self.names_agree)

    def item(self, attribute: str, position: int, saved_name: str) -> Self:
        """The group of a layer in a list."""
        return self.child(f"{attribute}/{saved_name}")

    def layer(self, record: LayerRecord) -> Self:
        """The group of a layer of the model; its stored name has to be the layer's."""
        inner = self.child(f"layers/{record.saved_name}")
        group = group_at(self.file, f"{inner.group}/vars")
        stored = None if group is None else group.attribute("name")
        if self.names_agree and stored is not None and stored != record.name:
            raise ConversionError(
                f"the weights in {inner.group} belong to a layer {stored!r}, but {CONFIG} has "
                f"{record.name!r} there (a layer used twice in a Sequential is not saved "
                "faithfully by Keras)"
            )
        return inner

    def read(self, stored: Stored) -> np.ndarray:
        """The values of a dataset."""
        return read_dataset(self.file, stored.handle)


def check_complete(file: File, handles: Sequence[str]) -> None:
    """Raises :class:`ConversionError` when the weights file holds weights of layers that no entry
    names.
    """
    known, extra = set(handles), []
    for dataset in file.walk():
        inside = dataset.name.strip("/").split("/")
        if (
            inside[0] == "layers"
            and "seed_generator" not in inside
            and "/".join(inside) not in known
        ):
            extra.append("/".join(inside))
    if extra:
        raise ConversionError(f"the weights {extra[:8]} belong to no layer of {CONFIG}")
