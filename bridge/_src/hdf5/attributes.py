"""Attributes: small values, mostly text, that stand beside a group or a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bridge._src.hdf5.datatypes import VARIABLE_SIZE, Datatype, read_datatype, read_shape
from bridge._src.hdf5.heaps import FractalHeap, global_heap
from bridge._src.hdf5.objects import Kind, Message
from bridge._src.hdf5.source import UNDEFINED, Cursor, HDF5Error, Source, UnreadHDF5Error
from bridge._src.hdf5.trees import records


class Attribute(NamedTuple):
    """An attribute as it is stored; it is decoded when somebody asks for it."""

    name: str
    datatype: bytes
    dataspace: bytes
    values: bytes
    is_shared: bool


def read_attributes(source: Source, found: Sequence[Message]) -> dict[str, Attribute]:
    """The attributes of the object with these messages, by name."""
    attributes = (_attribute(cursor) for message in found for cursor in _messages(source, message))
    return {attribute.name: attribute for attribute in attributes}


def _messages(source: Source, message: Message) -> Iterator[Cursor]:
    if message.kind == Kind.ATTRIBUTE:
        yield message.cursor()
    elif message.kind == Kind.ATTRIBUTE_INFO:
        cursor = message.cursor()
        _, flags = cursor.unpack("BB")
        cursor.take(2 if flags & 1 else 0)
        heap, names = cursor.unpack("QQ")
        if heap != UNDEFINED:
            held = FractalHeap(source, heap)
            for record in records(source, names):
                identifier, flags = Cursor(record).unpack("8sB")
                stored = held[identifier]
                source.count(len(stored))
                yield Message(Kind.ATTRIBUTE, flags, stored).cursor()


def _attribute(cursor: Cursor) -> Attribute:
    version, flags, *sizes = cursor.unpack("BBHHH")
    if version not in (1, 2, 3):
        raise HDF5Error(f"it has an attribute of version {version}")
    if version == 3:
        cursor.take(1)
    parts = []
    for size in sizes:
        begin = cursor.position
        parts.append(cursor.take(size))
        if version == 1:
            cursor.align(begin)
    name, datatype, dataspace = parts
    return Attribute(
        name.split(b"\0")[0].decode(),
        datatype,
        dataspace,
        cursor.data[cursor.position :],
        version > 1 and bool(flags & 3),
    )


class Texts:
    """Texts of variable length, which lie in collections that are read once each."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._collections: dict[int, dict[int, bytes]] = {}

    def read(self, reference: Cursor) -> bytes:
        """The text to which the next bytes refer."""
        length, address, number = reference.unpack("IQI")
        if length == 0:
            return b""
        if address not in self._collections:
            self._collections[address] = global_heap(self._source, address)
        text = self._collections[address].get(number)
        if text is None or length > len(text):
            raise HDF5Error("a text in it is not where it should be")
        self._source.count(length)
        return text[:length]


def decode(attribute: Attribute, texts: Texts) -> Any:
    """Text as :class:`str`, numbers as Python's or NumPy's own, several of them as a list.

    Raises:
        HDF5Error: when the attribute is of another kind, or claims more than it stores.
    """
    if attribute.is_shared:
        raise UnreadHDF5Error(
            f"its attribute {attribute.name} has a type or a shape that is stored "
            "elsewhere, which is not read"
        )
    datatype, shape = (
        read_datatype(Cursor(attribute.datatype)),
        read_shape(Cursor(attribute.dataspace)),
    )
    if datatype.other:
        raise HDF5Error(f"its attribute {attribute.name} holds {datatype.other}")
    if shape is None:
        return None
    claimed = math.prod(shape) * datatype.size
    if claimed > len(attribute.values):
        raise HDF5Error(
            f"its attribute {attribute.name} claims {claimed} bytes and has {len(attribute.values)}"
        )
    if any(size == 0 for size in shape):
        return []
    values = _values(datatype, math.prod(shape), attribute.values[:claimed], texts)
    for size in reversed(shape[1:]):
        values = [values[begin : begin + size] for begin in range(0, len(values), size)]
    return values if shape else values[0]


def _values(datatype: Datatype, count: int, data: bytes, texts: Texts) -> list[Any]:
    if datatype.dtype is None:
        cursor = Cursor(data)
        assert len(data) == count * VARIABLE_SIZE
        return [texts.read(cursor).decode() for _ in range(count)]
    if datatype.dtype.kind == "V":
        raise HDF5Error("its attributes hold values of no type")
    values = np.frombuffer(data, datatype.dtype).tolist()
    return [value.decode() for value in values] if datatype.dtype.kind == "S" else values
