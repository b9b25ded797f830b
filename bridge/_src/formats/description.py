"""What a model file or a live model says of itself, apart from its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from bridge._src.description.config import canonical, read_graph
from bridge._src.description.damage import refusing_damage
from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph
from bridge._src.formats.keras2 import upgrade
from bridge._src.typing import Config, Serialized

#: Larger configurations than these are not written by Keras. A list or mapping takes some hundred
#: bytes of memory, twice or three times over while a configuration is read, and four bytes of the
#: text.
MAX_CONFIG_BYTES, MAX_CONTAINERS, MAX_VALUES = 1 << 26, 1 << 19, 1 << 22


class Description(NamedTuple):
    """The serialized model in the form of Keras 3, sequences as tuples, and what it was compiled
    with as Keras writes it.

    ``loss`` is None, and ``compiled`` is empty, for a model that was not compiled; of a live model
    neither is read.
    """

    model: Config
    loss: Serialized = None
    compiled: Config = MappingProxyType({})

    def graph(self, origin: str) -> LayerGraph:
        """The layer graph; ``origin`` names the place for messages.

        Raises:
            ConversionError: when the description makes no sense.
        """
        with refusing_damage(origin):
            try:
                return read_graph(self.model)
            except ConversionError as error:
                raise ConversionError(f"{origin}: {error}", error.refusals) from None


def parse(data: bytes | str, origin: str) -> Config:
    """The mapping in a JSON text.

    Raises:
        ConversionError: when the text is no JSON, or no mapping.
    """
    with refusing_damage(origin):
        _check_size(data.encode() if isinstance(data, str) else data, origin)
        parsed = json.loads(data)
    if not isinstance(parsed, Mapping):
        raise ConversionError(f"{origin}: the configuration does not describe a model")
    return parsed


def _check_size(text: bytes, origin: str) -> None:
    """Raises before a text is parsed whose values would take more memory than those of any
    model.
    """
    if (
        len(text) > MAX_CONFIG_BYTES
        or text.count(b"[") + text.count(b"{") > MAX_CONTAINERS
        or text.count(b",") > MAX_VALUES
    ):
        raise ConversionError(
            f"{origin}: the configuration has more values than any model needs; the file "
            "is damaged or hostile"
        )


def describe(
    serialized: Config, compiled: Serialized, keras_version: str, origin: str
) -> Description:
    """The description of a model that Keras ``keras_version`` has serialized, and ``compiled``;
    Keras 2 is translated.
    """
    found = compiled if isinstance(compiled, Mapping) else {}
    with refusing_damage(origin):
        return Description(upgrade(canonical(serialized), keras_version), found.get("loss"), found)
