"""What a model file or a live model says of itself, apart from its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.errors import ConversionError
from bridge.graph import LayerGraph
from bridge.reading.config import canonical, read_graph
from bridge.reading.keras2 import upgrade

#: Larger configurations than this are not written by Keras; parsing takes some ten times the memory.
MAX_CONFIG_BYTES = 1 << 28


class Description(NamedTuple):
    """The serialized model in the form of Keras 3, sequences as tuples, and the loss that it was compiled with, or None."""

    model: Mapping[str, Any]
    loss: Any = None

    def graph(self, origin: str) -> LayerGraph:
        """The layer graph; ``origin`` names the place for messages.

        Raises:
            ConversionError: when the description makes no sense.
        """
        try:
            return read_graph(self.model)
        except ConversionError as error:
            raise ConversionError(f"{origin}: {error}", error.refusals) from None
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise ConversionError(
                f"{origin}: the configuration is damaged or not written by Keras ({type(error).__name__}: {error}); save the model again"
            ) from None


def parse(data: bytes | str, origin: str) -> Mapping[str, Any]:
    """The mapping in a JSON text.

    Raises:
        ConversionError: when the text is no JSON, or no mapping.
    """
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConversionError(
            f"{origin}: the configuration is damaged or not written by Keras ({type(error).__name__}: {error}); save the model again"
        ) from None
    if not isinstance(parsed, Mapping):
        raise ConversionError(f"{origin}: the configuration does not describe a model")
    return parsed


def describe(serialized: Mapping[str, Any], loss: Any, keras_version: str, origin: str) -> Description:
    """The description of a model that Keras ``keras_version`` has serialized; Keras 2 is translated."""
    try:
        model = canonical(serialized)
        return Description(upgrade(model, keras_version), loss)
    except ConversionError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ConversionError(
            f"{origin}: the configuration is damaged or not written by Keras ({type(error).__name__}: {error}); save the model again"
        ) from None
