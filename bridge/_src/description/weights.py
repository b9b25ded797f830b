"""The weight table: every weight of a model, keyed by its structural path; read and written through
the same entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridge._src.description.errors import ConversionError
from bridge._src.typing import Config, Serialized, Variable
from lmjax._src.typing import Array, Params, PyTree

Path = tuple[str, ...]


@dataclass(frozen=True)
class WeightEntry:
    """One weight.

    Attributes:
        path: Where it lies in the nested params: ``("dense_1", "kernel")``, ``("lstm", "cell",
            "kernel")``.
        shape: Keras' own shape.
        dtype: Name of the dtype in which Keras stores it.
        trainable: False when the weight, its layer or any model around it is frozen.
        regularizer: Serialized Keras regularizer (``{"class_name": …, "config": …}``), or None.
        constraint: Serialized Keras constraint, or None.
        handle: The live ``keras.Variable``, or the name of the HDF5 dataset.
        initializer: Serialized Keras initializer, or None where the layer has none by that name.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    regularizer: Config | None
    constraint: Config | None
    handle: Variable
    initializer: Serialized = None

    @property
    def name(self) -> str:
        """The path as one word, for messages."""
        return "/".join(self.path)


class WeightTable:
    """All weights of a model in Keras' order."""

    def __init__(self, entries: Iterable[WeightEntry]) -> None:
        self.entries = tuple(entries)

    def __iter__(self) -> Iterator[WeightEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def trainable(self) -> tuple[WeightEntry, ...]:
        """The weights that training changes."""
        return tuple(entry for entry in self.entries if entry.trainable)

    @property
    def frozen(self) -> tuple[WeightEntry, ...]:
        """The weights that training leaves alone."""
        return tuple(entry for entry in self.entries if not entry.trainable)

    @property
    def num_params(self) -> int:
        """Count of trainable numbers."""
        return sum(int(np.prod(entry.shape)) for entry in self.trainable)

    def check(self, params: Params, owner: str) -> dict[Path, np.ndarray]:
        """The trainable values in ``params``, after checking that every path and shape fits.

        Args:
            params: Nested dictionary shaped like the trainable part of this table.
            owner: What the table belongs to, for the message.

        Raises:
            ConversionError: listing every missing, superfluous or wrongly shaped weight.
        """
        given = dict(leaves(params))
        expected = {entry.path: entry for entry in self.trainable}
        faults = [
            f"{'/'.join(path)}: missing, expected shape {entry.shape}"
            for path, entry in expected.items()
            if path not in given
        ]
        frozen = {entry.path for entry in self.frozen}
        for path, value in given.items():
            if path not in expected:
                faults.append(
                    f"{'/'.join(path)}: {'frozen' if path in frozen else 'not a weight'} of {owner}"
                )
                continue
            if np.shape(value) != expected[path].shape:
                faults.append(
                    f"{'/'.join(path)}: given shape {np.shape(value)}, expected "
                    f"{expected[path].shape}"
                )
            elif (
                np.asarray(value).dtype.kind not in "fiu"
                and np.asarray(value).dtype.name != "bfloat16"
            ):
                faults.append(
                    f"{'/'.join(path)}: given dtype {np.asarray(value).dtype}, expected numbers"
                )
        if faults:
            lines = "".join(f"\n  - {fault}" for fault in faults)
            raise ConversionError(
                f"params do not fit {owner}; nothing was written. Pass params shaped like "
                f"from_keras(...).params:{lines}"
            )
        return {path: np.asarray(given[path]) for path in expected}


def leaves(tree: PyTree, prefix: Path = ()) -> Iterator[tuple[Path, Array]]:
    """Leaves of a nested mapping with their paths."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, (*prefix, str(key)))
    else:
        yield prefix, tree


def nest(flat: Mapping[Path, Array]) -> dict[str, Any]:
    """The nested dictionary of ``flat``."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value
    return tree


def merge(first: Params, second: Params) -> dict[str, Any]:
    """The union of two nested dictionaries without common leaves."""
    merged = dict(first)
    for key, value in second.items():
        inner = merged.get(key)
        merged[key] = (
            merge(inner, value)
            if isinstance(inner, Mapping) and isinstance(value, Mapping)
            else value
        )
    return merged


def keep_bits(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """``new`` in the dtype of ``old``, rounded once; a NaN that was a NaN before keeps its
    payload.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.asarray(new).astype(old.dtype)
    if old.dtype.kind in "biu":
        return cast
    return np.where(np.isnan(cast) & np.isnan(old), old, cast)


def same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two arrays of one dtype and shape hold the same bits (NaN and -0.0 told apart)."""
    return first.tobytes() == second.tobytes()
