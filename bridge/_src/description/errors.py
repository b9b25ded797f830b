"""The exceptions of a conversion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bridge._src.description.visible import one_line, visible


class Refusal(NamedTuple):
    """One layer that cannot be converted: its path in the model, its class and why."""

    layer: str
    class_name: str
    reason: str

    def __str__(self) -> str:
        return one_line(f"{self.layer} ({self.class_name}): {self.reason}")


class ConversionError(ValueError):
    """A model that cannot be converted or written back; ``refusals`` lists every layer at fault, if
    layers are.
    """

    def __init__(self, message: str, refusals: Sequence[Refusal] = ()) -> None:
        super().__init__(visible(message))
        self.refusals = tuple(refusals)

    @classmethod
    def for_layers(cls, model: str, refusals: Sequence[Refusal]) -> ConversionError:
        """One error that names all layers of ``model`` that cannot be converted."""
        count = f"{len(refusals)} layer{'s' if len(refusals) > 1 else ''}"
        lines = "".join(f"\n  - {refusal}" for refusal in refusals)
        return cls(
            f"cannot convert model {model!r}: {count} cannot be converted exactly{lines}", refusals
        )


class LayerRefused(ValueError):  # noqa: N818 - a verdict of a converter, always gathered into a ConversionError
    """Raised by a converter that cannot convert a layer exactly; the message is the reason, without
    the layer's name.
    """
