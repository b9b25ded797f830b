"""A model file, opened once for all that is read of it."""

from __future__ import annotations

import abc
import os
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import IO, ClassVar, Self

from bridge._src.description.damage import refusing_damage
from bridge._src.description.graph import LayerGraph
from bridge._src.formats.description import Description
from bridge._src.module.binding import Bound
from bridge._src.module.keras_graph import KerasGraph


class ModelFile(abc.ABC):
    """What is in a file with a model; it stays open until :meth:`close`, which whoever opened it
    calls.

    Args:
        path: what the file is called in messages.
        data: the file, open for reading.
    """

    #: The end of the name of files of this kind.
    kind: ClassVar[str]

    def __init__(self, path: Path, data: IO[bytes]) -> None:
        self.path, self.data = path, data

    @staticmethod
    @abc.abstractmethod
    def refusing(path: Path) -> AbstractContextManager[None]:
        """Within it whatever is wrong with a file of this kind, or with opening it, ends in a
        :class:`~bridge._src.description.errors.ConversionError`.
        """

    @abc.abstractmethod
    def describe(self) -> Description:
        """What the file says of its model, weights apart."""

    @abc.abstractmethod
    def bind(self, graph: LayerGraph, module: KerasGraph) -> Bound:
        """The weights in the file."""

    @cached_property
    def description(self) -> Description:
        """:meth:`describe`, read once."""
        with refusing_damage(str(self.path)):
            return self.describe()

    @cached_property
    def graph(self) -> LayerGraph:
        """The layer graph of the description."""
        return self.description.graph(str(self.path))

    @property
    def size(self) -> int:
        """The size of the file on the disk."""
        return os.fstat(self.data.fileno()).st_size

    def close(self) -> None:
        """Nothing is read any more."""
        self.data.close()

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()
