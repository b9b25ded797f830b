"""The exceptions of a conversion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bridge._src.description.visible import one_line, visible


class Refusal(NamedTuple):
    """One layer that cannot be converted, and why.

    Attributes:
        layer: its path in the model, ``outer/inner`` within an inner model.
        class_name: Keras' name of its class.
        reason: why, in a sentence.

    Example:
        >>> import lmjax.keras
        >>> print(lmjax.keras.Refusal("noise", "Wave", "no converter is registered"))
        noise (Wave): no converter is registered
    """

    layer: str
    class_name: str
    reason: str

    def __str__(self) -> str:
        return one_line(f"{self.layer} ({self.class_name}): {self.reason}")


class ConversionError(ValueError):
    """A model that cannot be converted or written back.

    Args:
        message: what is wrong, and what to do.
        refusals: a :class:`Refusal` for every layer at fault, if layers are; the attribute
            ``refusals`` has them as a tuple.

    Example:
        >>> import lmjax.keras
        >>> try:
        ...     lmjax.keras.from_keras("missing.keras")
        ... except lmjax.keras.ConversionError as error:
        ...     print(str(error).partition(";")[0], error.refusals)
        there is no file missing.keras ()
    """

    def __init__(self, message: str, refusals: Sequence[Refusal] = ()) -> None:
        super().__init__(visible(message))
        self.refusals = tuple(refusals)

    @classmethod
    def for_layers(cls, model: str, refusals: Sequence[Refusal]) -> ConversionError:
        """One error that names all layers of a model that cannot be converted.

        Args:
            model: the model's name.
            refusals: one for each of the layers.

        Returns:
            The error, to be raised.
        """
        count = f"{len(refusals)} layer{'s' if len(refusals) > 1 else ''}"
        lines = "".join(f"\n  - {refusal}" for refusal in refusals)
        return cls(
            f"cannot convert model {model!r}: {count} cannot be converted exactly{lines}", refusals
        )


class LayerRefused(ValueError):  # noqa: N818 - a verdict of a converter, always gathered into a ConversionError
    """Raised by a converter that cannot convert a layer exactly; the message is the reason, without
    the layer's name.

    All that are raised in one conversion are gathered into one :class:`ConversionError`.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax.keras
        >>> @lmjax.keras.register_converter("laboratory>Wave")
        ... def wave(config):
        ...     if config["kind"] != "sine":
        ...         raise lmjax.keras.LayerRefused(f"kind={config['kind']!r} is not supported")
        ...     return lmjax.keras.layers.FunctionLayer(jnp.sin)
        >>> lmjax.keras.unregister_converter("laboratory>Wave")
    """
