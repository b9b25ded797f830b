"""``save``: parameters into a copy of a ``.keras`` file, without Keras."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

from bridge.convert import read
from bridge.errors import ConversionError
from bridge.flax_model import FlaxModel
from bridge.reading.archive import WEIGHTS, members
from bridge.weights import keep_bits, same_bits


def save(params: Any, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Writes a copy of the ``.keras`` file ``source`` with trained parameters to ``target``.

    Everything else in the file (architecture, frozen weights, compile options, optimizer state) stays as it is, bit
    for bit. The copy is written beside ``target`` and renamed, so that ``target`` is never half-written; the two may
    be the same file.

    Args:
        params: Nested dictionary shaped like ``from_keras(source).params``, or a :class:`bridge.FlaxModel`.
        source: The ``.keras`` file that the parameters belong to.
        target: Where the copy goes.

    Returns:
        The path of the copy.

    Raises:
        ConversionError: when a path or shape does not fit, or ``target`` cannot be written.
    """
    source, target = Path(source), Path(target)
    if target.suffix != ".keras":
        raise ConversionError(f"target {target} must end in .keras, or Keras will not load it")
    table, old = read(source)[2]
    new = table.check(params.params if isinstance(params, FlaxModel) else params, str(source))
    values = {entry.handle: keep_bits(new[entry.path], old[entry.path]) for entry in table.trainable}
    before = {entry.handle: old[entry.path] for entry in table.trainable}
    changed = {name: value for name, value in values.items() if not same_bits(value, before[name])}
    weights = _with_values(members(source)[WEIGHTS], changed)
    with replacing(target) as file:
        _copy_archive(source, file, weights)
    return target


def _with_values(data: bytes, changed: dict[str, Any]) -> bytes:
    if not changed:
        return data
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        for name, value in changed.items():
            file[name][...] = value.view(file[name].dtype) if file[name].dtype.kind == "V" else value
    return buffer.getvalue()


def _copy_archive(source: Path, file: Any, weights: bytes) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            if info.filename == WEIGHTS:
                new.writestr(info, weights)
                continue
            with old.open(info) as reading, new.open(info, "w") as writing:
                while chunk := reading.read(1 << 20):
                    writing.write(chunk)


@contextmanager
def replacing(target: Path) -> Iterator[Any]:
    """A binary file that takes the place of ``target`` when the block ends without an exception.

    Raises:
        ConversionError: when ``target`` cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode(target))
        os.replace(name, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise _unwritable(target, error) from None
        raise


def _mode(target: Path) -> int:
    """The permissions of the file that is replaced, or those that a new file gets; mkstemp's own are private."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _unwritable(target: Path, error: OSError) -> ConversionError:
    reason = error.strerror or str(error)
    return ConversionError(f"{target} cannot be written ({reason}); give a path in an existing folder that you may write to")
