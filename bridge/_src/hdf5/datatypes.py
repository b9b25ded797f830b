"""Types and shapes of HDF5 values."""

from __future__ import annotations

from typing import NamedTuple

import ml_dtypes
import numpy as np

from bridge._src.hdf5.source import Cursor, HDF5Error

_INTEGER, _FLOAT, _TEXT, _OPAQUE, _ENUM, _VARIABLE = 0, 1, 3, 5, 8, 9
_NAMES = {2: "times", 4: "bit fields", 6: "compound values", 7: "references", 10: "arrays"}
#: NumPy's floats by size in bytes, place and size of the exponent, place and size of the mantissa,
#: and bias.
_FLOATS = {
    (2, 10, 5, 0, 10, 15): np.dtype("f2"),
    (4, 23, 8, 0, 23, 127): np.dtype("f4"),
    (8, 52, 11, 0, 52, 1023): np.dtype("f8"),
    (2, 7, 8, 0, 7, 127): np.dtype(ml_dtypes.bfloat16),
}
#: Bytes that stand in a dataset for text of variable length: its length, and where it is.
VARIABLE_SIZE = 16
_MAX_RANK = 32


class Datatype(NamedTuple):
    """A type: that of NumPy (``S`` for text of fixed length), or None for text of variable length;
    or what it is instead.
    """

    dtype: np.dtype | None
    size: int
    other: str = ""


def read_datatype(cursor: Cursor) -> Datatype:
    """The type described at ``cursor``."""
    head, flags, more, _, size = cursor.unpack("BBBBI")
    kind = head & 15
    order = ">" if flags & 1 else "<"
    if kind == _INTEGER:
        offset, precision = cursor.unpack("HH")
        if offset == 0 and size in (1, 2, 4, 8) and precision == 8 * size:
            return Datatype(np.dtype(f"{order}{'i' if flags & 8 else 'u'}{size}"), size)
        return Datatype(None, size, "integers of unusual size")
    if kind == _FLOAT:
        offset, _, *layout, bias = cursor.unpack("HHBBBBI")
        dtype = (
            None
            if offset or flags & 64 or more != 8 * size - 1
            else _FLOATS.get((size, *layout, bias))
        )
        if dtype is None or (order == ">" and dtype.name == "bfloat16"):
            return Datatype(None, size, "floats of unusual layout")
        return Datatype(dtype if dtype.name == "bfloat16" else dtype.newbyteorder(order), size)
    if kind == _TEXT and size:
        return Datatype(np.dtype(f"S{size}"), size)
    if kind == _OPAQUE and size:
        return Datatype(np.dtype(f"V{size}"), size)
    if kind == _ENUM:
        return (
            Datatype(np.dtype(bool), size)
            if _is_boolean(cursor, head >> 4, flags + 256 * more)
            else Datatype(None, size, "enumerations")
        )
    if kind == _VARIABLE:
        return Datatype(
            None,
            VARIABLE_SIZE,
            "" if flags & 15 == 1 and size == VARIABLE_SIZE else "sequences of variable length",
        )
    return Datatype(None, size, _NAMES.get(kind, "values of an unknown type"))


def _is_boolean(cursor: Cursor, version: int, members: int) -> bool:
    """Whether an enumeration is NumPy's bool as h5py writes it: FALSE and TRUE as integers of one
    byte.
    """
    base = read_datatype(cursor)
    if base.size != 1 or members != 2:
        return False
    names = []
    for _ in range(members):
        begin = cursor.position
        end = cursor.data.find(b"\0", begin)
        names.append(cursor.take(max(end - begin, 0)))
        cursor.take(1)
        if version < 3:
            cursor.align(begin)
    return names == [b"FALSE", b"TRUE"] and cursor.take(2) == b"\0\1"


def read_shape(cursor: Cursor) -> tuple[int, ...] | None:
    """The shape described at ``cursor``; None for a place without values."""
    version, rank, _ = cursor.unpack("BBB")
    if rank > _MAX_RANK or version not in (1, 2):
        raise HDF5Error(f"it has values of {rank} dimensions (dataspace version {version})")
    if version == 1:
        cursor.take(5)
    elif cursor.number(1) == 2:
        return None
    return cursor.unpack(f"{rank}Q")
