"""Groups and datasets as they are seen from outside."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import IO, Any

import numpy as np

from bridge._src.hdf5.attributes import Attribute, Texts, decode, read_attributes
from bridge._src.hdf5.datasets import Layout, read_layout, read_type, read_values
from bridge._src.hdf5.links import Link, read_links
from bridge._src.hdf5.objects import Kind, Message, messages, root_address
from bridge._src.hdf5.source import UNDEFINED, HDF5Error, Source


class Node:
    """A group or a dataset; ``name`` is its path, beginning with a slash."""

    def __init__(self, file: File, name: str, found: list[Message]) -> None:
        self.file, self.name, self._messages = file, name, found

    @cached_property
    def _attributes(self) -> dict[str, Attribute]:
        return read_attributes(self.file.source, self._messages)

    def attribute(self, name: str) -> Any:
        """The attribute ``name``: text, a number, or a list of these; None when there is none."""
        attribute = self._attributes.get(name)
        return None if attribute is None else decode(attribute, self.file.texts)

    def attributes(self) -> Iterator[str]:
        """The names of all attributes."""
        return iter(self._attributes)


class Group(Node):
    """A group: names of groups and datasets."""

    @cached_property
    def links(self) -> dict[str, Link]:
        """All that the group holds, by name."""
        return read_links(self.file.source, self._messages)

    def get(self, name: str) -> Group | Dataset | None:
        """What the hard link ``name`` leads to; None where there is none."""
        link = self.links.get(name)
        if link is None or link.address is None:
            return None
        return self.file.node(link.address, f"{self.name.rstrip('/')}/{name}")


class Dataset(Node):
    """A dataset, whose values are read when somebody asks for them."""

    @cached_property
    def _type(self) -> tuple[Any, tuple[int, ...]]:
        return read_type(self._messages)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self._type[1]

    @property
    def dtype(self) -> np.dtype | None:
        """The dtype of its numbers; None when it holds something else."""
        dtype = self._type[0].dtype
        return None if self._type[0].other or dtype is None or dtype.kind == "S" else dtype

    @property
    def nbytes(self) -> int:
        """The bytes that its values claim."""
        return math.prod(self.shape) * int(self._type[0].size)

    @property
    def kind(self) -> str:
        """What it holds, in words."""
        datatype = self._type[0]
        return str(datatype.other or ("text" if self.dtype is None else datatype.dtype))

    @cached_property
    def layout(self) -> Layout:
        """How its values lie in the file."""
        return read_layout(self.file.source, self._messages)

    def check(self) -> None:
        """Raises :class:`HDF5Error` when its type, its shape or the description of where its values
        lie is damaged.
        """
        if self.dtype is not None:
            layout = self.layout
            whole = () if layout.address == UNDEFINED else ((layout.address, layout.stored),)
            for address, stored in (
                *whole,
                *((chunk.address, chunk.stored) for chunk in layout.chunks),
            ):
                self.file.source.check(address, stored)

    @property
    def place(self) -> int | None:
        """The address at which its values lie one behind the other; None when they do not, or are
        not all there.
        """
        layout = self.layout
        return (
            layout.address if layout.address != UNDEFINED and self.nbytes <= layout.stored else None
        )

    def read(self) -> np.ndarray:
        """Its values, an array of their own.

        Raises:
            HDF5Error: when they are no numbers, or not in the file.
        """
        if self.dtype is None:
            raise HDF5Error(f"the dataset {self.name} holds {self.kind}, not numbers")
        return read_values(self.file.source, self.dtype, self.shape, self.layout)


class File(Group):
    """An HDF5 file.

    Args:
        file: Seekable, binary; it has to stay open as long as something is read.
        on_disk: The size of the file on the disk in which ``file`` lies compressed, if it does.

    Raises:
        HDF5Error: when it is none, or damaged at its root.
    """

    def __init__(self, file: IO[bytes], on_disk: int | None = None) -> None:
        self.source = Source(file, on_disk)
        self.texts = Texts(self.source)
        self._nodes: dict[int, Group | Dataset] = {}
        super().__init__(self, "/", messages(self.source, root_address(self.source)))

    def node(self, address: int, name: str) -> Group | Dataset:
        """The object at ``address``, read once; ``name`` is the path by which it was found."""
        if address not in self._nodes:
            found = messages(self.source, address)
            kind = Dataset if any(message.kind == Kind.LAYOUT for message in found) else Group
            self._nodes[address] = kind(self.file, name, found)
        return self._nodes[address]

    def walk(self) -> Iterator[Dataset]:
        """Every dataset in the file that hard links lead to, once."""
        waiting: list[Group] = [self]
        seen: set[int] = set()
        while waiting:
            group = waiting.pop()
            for link in group.links.values():
                if link.address is None or link.address in seen:
                    continue
                seen.add(link.address)
                found = group.get(link.name)
                if isinstance(found, Dataset):
                    yield found
                elif found is not None:
                    waiting.append(found)
