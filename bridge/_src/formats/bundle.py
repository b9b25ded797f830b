"""Reading a portable bundle (``.lmjax``): a zip of ``bundle.json`` and ``weights.npz``;
docs/bundle.md describes it.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self

import ml_dtypes
import numpy as np

from bridge._src.description.config import canonical
from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph, LayerRecord
from bridge._src.formats.description import MAX_CONFIG_BYTES, Description, parse
from bridge._src.formats.model_file import ModelFile
from bridge._src.layers.base import Weight
from bridge._src.module.binding import Bound, Stored, bind
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.typing import Config

FORMAT, VERSION = "lmjax bundle", 1
HEADER, WEIGHTS = "bundle.json", "weights.npz"
#: NumPy has no bfloat16 of its own; its bits are stored as unsigned integers.
STORED_AS = {"bfloat16": np.dtype("<u2")}
_DTYPES = (
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
)

Entry = Config


class Bundle(ModelFile):
    """A portable bundle."""

    kind = ".lmjax"

    def __init__(self, path: Path, data: IO[bytes]) -> None:
        super().__init__(path, data)
        with self.refusing(path):
            self.zip = zipfile.ZipFile(data)
            _check_members(self.zip, [HEADER, WEIGHTS], self.size)

    @staticmethod
    @contextmanager
    def refusing(path: Path) -> Iterator[None]:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        if path.is_dir():
            raise ConversionError(f"{path} is a folder; give the file that lmjax pack writes")
        try:
            yield
        except ConversionError as error:
            raise ConversionError(f"{path}: {error}", error.refusals) from None
        except FileNotFoundError:
            raise ConversionError(f"there is no file {path}; lmjax pack writes one") from None
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise ConversionError(
                f"{path} is not a complete bundle ({error}); pack the model again"
            ) from None
        except OSError as error:
            raise ConversionError(f"{path} cannot be read ({error.strerror or error})") from None

    @cached_property
    def header(self) -> dict[str, Any]:
        """The checked ``bundle.json``."""
        with self.refusing(self.path):
            return _header(self.zip)

    def describe(self) -> Description:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        return Description(canonical(self.header["model"]), self.header.get("loss"))

    def bind(self, graph: LayerGraph, module: KerasGraph) -> Bound:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        header = self.header
        with self.refusing(self.path):
            entries = _entries(header)
            with self.zip.open(WEIGHTS) as data, zipfile.ZipFile(data) as arrays:
                _check_members(
                    arrays,
                    [f"{entry['array']}.npy" for entry in entries.values()],
                    self.zip.getinfo(WEIGHTS).file_size,
                )
                bound = bind(graph, module, _BundleSource(entries, arrays))
        superfluous = sorted(set(entries) - {entry.name for entry in bound.table})
        if superfluous:
            raise ConversionError(
                f"{self.path}: the weights {superfluous[:8]} belong to no layer of the model"
            )
        return bound


def _check_members(archive: zipfile.ZipFile, expected: Sequence[str], size: int) -> None:
    """Raises unless the zip holds exactly the expected members, none of them compressed or larger
    than the file.
    """
    names = [info.filename for info in archive.infolist()]
    if sorted(names) != sorted(expected):
        wrong = sorted(set(names) ^ set(expected)) or names
        raise ConversionError(
            f"it is no bundle: it should hold {', '.join(expected[:3])} and nothing else, "
            f"but differs in {wrong[:3]}"
        )
    for info in archive.infolist():
        if (
            info.compress_type != zipfile.ZIP_STORED
            or info.file_size != info.compress_size
            or info.file_size > size
        ):
            sizes = f"claims {info.file_size} bytes and stores {info.compress_size}"
            raise ConversionError(f"{info.filename} {sizes}; the file is damaged or hostile")


def _header(archive: zipfile.ZipFile) -> dict[str, Any]:
    if archive.getinfo(HEADER).file_size > MAX_CONFIG_BYTES:
        raise ConversionError(f"{HEADER} is larger than any model needs")
    header = dict(parse(archive.read(HEADER), HEADER))
    version = header.get("version")
    if header.get("format") != FORMAT or not isinstance(version, int):
        raise ConversionError(f"{HEADER} is not that of a bundle")
    if version > VERSION:
        raise ConversionError(
            f"it was written by a newer lmjax (bundle version {version}, this one reads "
            f"up to {VERSION}); upgrade lmjax"
        )
    if not isinstance(header.get("model"), Mapping) or not isinstance(header.get("weights"), list):
        raise ConversionError(f"{HEADER} lacks the model or its weights")
    return header


def _entries(header: Config) -> dict[str, Entry]:
    """The entries of the weight table by name, every field checked."""
    entries: dict[str, Entry] = {}
    for entry in header["weights"]:
        if not isinstance(entry, Mapping) or not _is_sound(entry):
            raise ConversionError(
                f"{HEADER} has an entry for weights that makes no sense: {str(entry)[:80]}"
            )
        name = "/".join(entry["path"])
        if name in entries:
            raise ConversionError(f"{HEADER} lists the weights {name} twice")
        entries[name] = entry
    return entries


def _is_sound(entry: Entry) -> bool:
    path, shape, options = (
        entry.get("path"),
        entry.get("shape"),
        (entry.get("regularizer"), entry.get("constraint")),
    )
    return (
        isinstance(path, list)
        and all(isinstance(part, str) for part in path)
        and isinstance(shape, list)
        and all(type(size) is int and size >= 0 for size in shape)
        and entry.get("dtype") in _DTYPES
        and isinstance(entry.get("trainable"), bool)
        and isinstance(entry.get("array"), str)
        and all(option is None or isinstance(option, (Mapping, str)) for option in options)
    )


class _BundleSource:
    """The arrays of a bundle, found by the names of the weights."""

    trainable = True  # the entries know

    def __init__(self, entries: Mapping[str, Entry], arrays: zipfile.ZipFile) -> None:
        self.entries, self.arrays = entries, arrays

    def own(self, weights: Sequence[Weight], where: str) -> list[Stored]:
        """The weights listed under the layer's path."""
        return [
            Stored(None, (), "float32") if weight.alias else self._stored(f"{where}/{weight.name}")
            for weight in weights
        ]

    def _stored(self, name: str) -> Stored:
        if name not in self.entries:
            raise ConversionError(f"it lacks the weights {name}")
        entry = self.entries[name]
        options = {option: canonical(entry.get(option)) for option in ("regularizer", "constraint")}
        return Stored(name, tuple(entry["shape"]), entry["dtype"], entry["trainable"], options)

    def child(self, attribute: str) -> Self:
        """The source itself."""
        return self

    def item(self, attribute: str, position: int, saved_name: str) -> Self:
        """The source itself."""
        return self

    def layer(self, record: LayerRecord) -> Self:
        """The source itself."""
        return self

    def read(self, stored: Stored) -> np.ndarray:
        """The values of an array, whose own header has to agree with the entry and with the size of
        the member.
        """
        info = self.arrays.getinfo(f"{self.entries[stored.handle]['array']}.npy")
        with self.arrays.open(info) as file:
            return _read_array(file, stored, info.file_size)


def _read_array(file: IO[bytes], stored: Stored, size: int) -> np.ndarray:
    expected = STORED_AS.get(stored.dtype, np.dtype(stored.dtype).newbyteorder("<"))
    if np.lib.format.read_magic(file) != (1, 0):
        raise ConversionError(
            f"the weights {stored.handle} are in an unknown version of NumPy's format"
        )
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    count = math.prod(shape) * dtype.itemsize
    if shape != stored.shape or dtype != expected or is_fortran or count != size - file.tell():
        listed = f"the {stored.dtype} array {stored.shape} that {HEADER} lists"
        raise ConversionError(
            f"the weights {stored.handle} are not {listed}; the file is damaged or hostile"
        )
    values = np.empty(shape, dtype)
    buffer = memoryview(values.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    while buffer:
        read = file.readinto(buffer)  # type: ignore[attr-defined]
        if not read:
            raise EOFError(f"the weights {stored.handle} are cut off")
        buffer = buffer[read:]
    file.read(1)  # zipfile compares the checksum at the end
    return values.view(ml_dtypes.bfloat16) if stored.dtype == "bfloat16" else values
