"""What every converted layer is: a Flax module in Keras' own parameter shapes, built from a Keras layer config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import flax.linen as nn
import jax

from bridge.registry import LayerRefused

#: Keys that every Keras layer config may hold and that do not change what the layer computes at inference.
#: Regularizers and constraints concern training; the reader puts them into the weight table.
_WITHOUT_EFFECT = frozenset(
    {"name", "trainable", "dtype", "batch_shape", "batch_input_shape", "input_shape", "sparse", "ragged", "optional", "autocast"}
)
_WITHOUT_EFFECT_SUFFIXES = ("_initializer", "_regularizer", "_constraint")


class Weight(NamedTuple):
    """One entry of a layer's weight list, in the order in which Keras saves them."""

    name: str
    trainable: bool = True


class LayerConfig(Mapping[str, Any]):
    """A Keras layer config that notices which options its converter looked at.

    An option that no converter looked at is refused (:meth:`finish`), so that an option of a newer Keras that
    changes the mathematics is never silently dropped. Sequences are tuples at every depth.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._seen: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._seen.add(key)
        return self._values[key]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def ignore(self, *keys: str) -> None:
        """Marks options as read that have no effect on inference."""
        self._seen.update(keys)

    def require(self, key: str, *allowed: Any) -> Any:
        """The option ``key``, which must be one of ``allowed`` (or absent)."""
        value = self.get(key, allowed[0])
        if value not in allowed:
            raise LayerRefused(f"{key}={value!r} is not supported")
        return value

    def finish(self) -> None:
        """Raises :class:`LayerRefused` when an option was never looked at and is set."""
        unread = [
            key
            for key, value in self._values.items()
            if key not in self._seen
            and key not in _WITHOUT_EFFECT
            and not key.endswith(_WITHOUT_EFFECT_SUFFIXES)
            and value not in (None, False)
        ]
        if unread:
            raise LayerRefused(
                f"option {', '.join(f'{key}={self._values[key]!r}' for key in sorted(unread))} is unknown to this version of lmjax"
            )


class KerasLayer(nn.Module):
    """A Keras layer with inference semantics as a pure Flax module.

    Subclasses add hashable fields (numbers, strings, tuples), so that two conversions of equal layers are equal
    and share their compiled functions. Parameters are declared with Keras' names and shapes in the collection
    ``"params"``; which of them are trained is the weight table's business, not the module's.
    """

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        """The module for a Keras config; raises :class:`LayerRefused` for what cannot be converted exactly."""
        raise NotImplementedError(f"{cls.__name__}.from_config")

    def weights(self) -> tuple[Weight, ...]:
        """The layer's own weights in Keras' order (trainable first), without those of its children."""
        return ()

    def children(self) -> dict[str, KerasLayer]:
        """Inner layers by the attribute under which the Keras layer holds them (``cell``, ``forward_layer``, …).

        A field that holds a layer is named as the Keras attribute, so the fields are the answer.
        """
        fields = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self) if field.name not in ("parent", "name"))
        return {name: value for name, value in fields if isinstance(value, KerasLayer)}

    def compute_mask(self, inputs: Any, mask: jax.Array | None) -> jax.Array | None:
        """The mask handed to the next layer: by default the one received."""
        return mask

    def __call__(self, inputs: Any, mask: jax.Array | None = None) -> Any:
        """The layer's outputs; ``mask`` is boolean (batch, time), or None."""
        raise NotImplementedError(f"{type(self).__name__}.__call__")


Activation = Callable[[jax.Array], jax.Array]
