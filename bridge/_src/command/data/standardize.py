"""Standardisation that travels with the model: a Keras Normalization layer put in front, inside the
archive.

The layer holds mean and variance in its configuration and has no weights, so only ``config.json``
changes; but Keras names groups of weights by class, so the groups of Normalization layers behind it
move up by one.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from bridge._src.command.failure import CommandError
from bridge._src.formats.archive import CONFIG, WEIGHTS, Archive
from bridge._src.formats.archive_writing import copy_archive
from bridge._src.formats.hdf5_copy import copy_hdf5
from bridge._src.formats.keras_hdf5 import group_at
from bridge._src.formats.model_file import ModelFile


def takes_normalization(source: ModelFile) -> bool:
    """Whether a layer can be put in front: in a ``.keras`` file with a Sequential model that begins
    with an Input.
    """
    if not isinstance(source, Archive):
        return False
    config = source.configuration(CONFIG)
    layers = config.get("config", {}).get("layers", [])
    return (
        config.get("class_name") == "Sequential"
        and bool(layers)
        and layers[0].get("class_name") == "InputLayer"
    )


def insert_normalization(source: Archive, target: Path, x: np.ndarray) -> None:
    """Writes to ``target`` the model in ``source`` with a layer in front that standardises the
    features of ``x``.

    Args:
        source: A file that :func:`takes_normalization`, open.
        target: The file to write.
        x: Training inputs (N, ..., F); mean and variance are taken over all axes but the last.

    Raises:
        CommandError: when the model does not take inputs of that shape.
    """
    config = dict(source.configuration(CONFIG))
    layers = config["config"]["layers"]
    shape = layers[0]["config"].get("batch_shape") or []
    if len(shape) < 2 or shape[-1] != x.shape[-1]:
        raise CommandError(
            f"{source.path}: --standardize: the model takes {shape}, and the data have shape "
            f"{x.shape}"
        )
    layers.insert(1, _normalization(_unused_name(layers), shape, x))
    replaced = {CONFIG: json.dumps(config).encode(), **_renumbered(source)}
    with target.open("wb") as file:
        copy_archive(source, file, replaced)


def _normalization(name: str, shape: list[int | None], x: np.ndarray) -> dict[str, Any]:
    axes = tuple(range(x.ndim - 1))
    # In float32 from the start: what is trained on is then what the exported file computes.
    mean = np.mean(x, axis=axes, dtype=np.float64).astype(np.float32)
    variance = np.var(x, axis=axes, dtype=np.float64).astype(np.float32)
    # A constant feature must not blow up on new data.
    variance = np.where(variance > 0, variance, np.float32(1))
    config = {
        "name": name,
        "trainable": True,
        "dtype": {
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": {"name": "float32"},
            "registered_name": None,
        },
        "axis": [-1],
        "invert": False,
        "mean": mean.tolist(),
        "variance": variance.tolist(),
    }
    built = {"input_shape": shape}
    return {
        "module": "keras.layers",
        "class_name": "Normalization",
        "config": config,
        "registered_name": None,
        "build_config": built,
    }


def _unused_name(layers: list[dict[str, Any]]) -> str:
    taken = {layer.get("config", {}).get("name") for layer in layers}
    return next(
        name
        for number in range(len(layers) + 1)
        if (name := f"standardize_{number}" if number else "standardize") not in taken
    )


def _renumbered(source: Archive) -> dict[str, bytes]:
    """The weights file with the groups ``layers/normalization``, ``layers/normalization_1``, …
    moved up by one, if it has any.
    """
    with source.weights() as file:
        layers = group_at(file, "layers")
        names = [] if layers is None else list(layers.links)
        numbers = [
            int(found[1] or 0)
            for name in names
            if (found := re.fullmatch(r"normalization(?:_([1-9]\d{0,8}))?", name))
        ]
        if not numbers:
            return {}
        buffer = io.BytesIO()
        copy_hdf5(
            file,
            buffer,
            renamed={f"/layers/{_group(number)}": _group(number + 1) for number in numbers},
        )
    return {WEIGHTS: buffer.getvalue()}


def _group(number: int) -> str:
    return f"normalization_{number}" if number else "normalization"
