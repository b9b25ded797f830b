"""``save``: parameters into a copy of a model file, without Keras."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from bridge._src.conversion.convert import Reading, read_file
from bridge._src.description.errors import ConversionError
from bridge._src.description.weights import keep_bits, same_bits
from bridge._src.formats import legacy_h5
from bridge._src.formats.archive import WEIGHTS, Archive
from bridge._src.formats.archive_writing import set_values, with_values, write_archive
from bridge._src.formats.bundle_writing import write_bundle
from bridge._src.formats.files import WEIGHTS_ONLY, check_name, open_model
from bridge._src.formats.keras_hdf5 import opened
from bridge._src.formats.model_file import ModelFile
from bridge._src.formats.output.atomic import replacing
from bridge._src.formats.output.targets import refuse_other_kinds
from bridge._src.module.flax_model import FlaxModel
from bridge._src.typing import FilePath
from lmjax._src.typing import Params


def save(
    params: Params, source: FilePath, target: FilePath, weights: FilePath | None = None
) -> Path:
    """Writes a copy of the model file ``source`` with trained parameters to ``target``.

    Everything else in the file (architecture, frozen weights, compile options, optimizer state)
    stays as it is, bit for bit, but for members of a ``.keras`` archive whose names lead out of it.
    The copy is written beside ``target`` and renamed, so that ``target`` is never half-written; the
    two may be the same file. Links are followed, and what is replaced keeps its owner, permissions
    and extended attributes where the system allows that.

    Args:
        params: Nested dictionary shaped like ``from_keras(source).params``, or a
            :class:`bridge.FlaxModel`.
        source: The model file that the parameters belong to: ``.keras``, ``.h5`` or ``.lmjax``.
        target: Where the copy goes: a file of the same kind, or ``.weights.h5`` for the weights
            alone.
        weights: The ``.weights.h5`` file that was read in place of the weights in ``source``, if
            there was one.

    Returns:
        The path of the copy.

    Raises:
        ConversionError: when a path or shape does not fit, ``target`` is of another kind, or it
            cannot be written.

    Example:
        A file is read, changed and written without Keras.

        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
        >>> model.save("model.keras")
        >>> params = lmjax.keras.from_keras("model.keras").params
        >>> params["out"]["bias"] = np.array([3.0])
        >>> lmjax.keras.save(params, "model.keras", "fitted.keras").name
        'fitted.keras'
        >>> keras.models.load_model("fitted.keras").get_layer("out").get_weights()[1]
        array([3.], dtype=float32)
    """
    source, target = Path(source), Path(target)
    base = None if weights is None else Path(weights)
    check_name(source)
    refuse_other_kinds(target, source, base)
    with open_model(source) as file:
        check_kinds(file, target, base)
        return save_read(params, read_file(file, base), file, target, base)


def save_read(
    params: Params, reading: Reading, source: ModelFile, target: Path, weights: Path | None = None
) -> Path:
    """:func:`save` of what is a ``reading`` of the open file ``source``; closes it."""
    table, old = reading.bound.table, reading.bound.values
    new = table.check(params.params if isinstance(params, FlaxModel) else params, str(source.path))
    values = {entry.path: keep_bits(new[entry.path], old[entry.path]) for entry in table.trainable}
    changed = {
        entry.handle: values[entry.path]
        for entry in table.trainable
        if not same_bits(values[entry.path], old[entry.path])
    }
    with replacing(target) as file:
        if target.suffix == ".lmjax":
            write_bundle(file, reading.description, table, {**old, **values})
        else:
            _write_keras(file, source, target, weights, changed)
        source.close()  # Windows replaces no file that is open
    return target


def check_kinds(source: ModelFile, target: Path, weights: Path | None = None) -> None:
    """Raises :class:`ConversionError` unless ``target`` is a kind of file that can be written from
    ``source``.
    """
    path = source.path
    refuse_other_kinds(target, path, weights)
    is_archive = isinstance(source, Archive)
    if str(target).endswith(WEIGHTS_ONLY):
        if weights is None and not is_archive:
            raise ConversionError(
                f"target {target} needs a .keras file as source, or weights={WEIGHTS_ONLY!r} "
                "that it is a copy of"
            )
        return
    if target.suffix not in (path.suffix, source.kind):
        raise ConversionError(
            f"target {target} must end in {path.suffix} as {path.name} does, or in {WEIGHTS_ONLY}"
        )
    if weights is not None and (not is_archive or _is_legacy(weights)):
        raise ConversionError(
            f"target {target}: with weights from {weights} only a {WEIGHTS_ONLY} file can "
            "be written"
        )


def _write_keras(
    file: IO[bytes],
    source: ModelFile,
    target: Path,
    weights: Path | None,
    changed: Mapping[str, np.ndarray],
) -> None:
    weights_alone = str(target).endswith(WEIGHTS_ONLY)
    if weights is not None and (weights_alone or not isinstance(source, Archive)):
        with weights.open("rb") as original:
            shutil.copyfileobj(original, file)
        set_values(file, changed)
    elif not isinstance(source, Archive):
        source.data.seek(0)
        shutil.copyfileobj(source.data, file)
        set_values(file, changed)
    else:
        stored = source.member(WEIGHTS) if weights is None else weights.read_bytes()
        data = with_values(stored, changed)
        if weights_alone:
            file.write(data)
        else:
            write_archive(source, data, file)


def _is_legacy(weights: Path) -> bool:
    with opened(weights, str(weights)) as file:
        return legacy_h5.is_legacy(file)
