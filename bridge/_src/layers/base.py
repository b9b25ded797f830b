"""What every converted layer is: a Flax module in Keras' own parameter shapes, built from a Keras
layer config.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import flax.linen as nn
import jax

from bridge._src.description.errors import LayerRefused
from bridge._src.typing import Config, LiveLayer, Mask
from lmjax._src.typing import PyTree

#: Keys that every Keras layer config may hold and that do not change what the layer computes at
#: inference. Regularizers and constraints concern training; the reader puts them into the weight
#: table.
_WITHOUT_EFFECT = frozenset(
    {
        "name",
        "trainable",
        "dtype",
        "batch_shape",
        "batch_input_shape",
        "input_shape",
        "sparse",
        "ragged",
        "optional",
        "autocast",
    }
)
_WITHOUT_EFFECT_SUFFIXES = ("_initializer", "_regularizer", "_constraint")


class Weight(NamedTuple):
    """One entry of a layer's weight list, in the order in which Keras saves them.

    Attributes:
        name: Keras' name of the variable, which the Flax module uses, too.
        trainable: whether a fit may change it.
        alias: whether it is a weight of an inner layer that Keras lists for the outer layer, too,
            and no weight of its own.
        number: its place among all weights of a live layer, inner ones included, where it is to be
            found by that; else None.

    Example:
        What ``KerasLayer.weights`` of a batch normalisation returns.

        >>> import lmjax.keras
        >>> Weight = lmjax.keras.layers.Weight
        >>> weights = (Weight("gamma"), Weight("beta"), Weight("moving_mean", trainable=False))
        >>> [weight.name for weight in weights if weight.trainable]
        ['gamma', 'beta']
    """

    name: str
    trainable: bool = True
    alias: bool = False
    number: int | None = None


class LayerConfig(Mapping[str, Any]):
    """A Keras layer config that notices which options its converter looked at.

    An option that no converter looked at is refused (:meth:`finish`), so that an option of a newer
    Keras that changes the mathematics is never silently dropped. Sequences are tuples at every
    depth.

    Args:
        values: the options, as the layer's ``get_config`` gives them.
        live: the live Keras layer, which the attribute ``live`` has; None in a file, and for a
            layer within another layer.

    Example:
        A converter reads what it needs; what is left over refuses the layer.

        >>> import lmjax.keras
        >>> options = {"name": "wave", "kind": "sine", "decay": 0.5}
        >>> config = lmjax.keras.layers.LayerConfig(options)
        >>> config.require("kind", "sine", "cosine")
        'sine'
        >>> try:
        ...     config.finish()
        ... except lmjax.keras.LayerRefused as reason:
        ...     print(reason)
        option decay=0.5 is unknown to this version of lmjax
    """

    def __init__(self, values: Config, live: LiveLayer = None) -> None:
        self._values = dict(values)
        self._seen: set[str] = set()
        #: the live Keras layer; None in a file, and for a layer within another layer
        self.live = live

    def __getitem__(self, key: str) -> Any:
        self._seen.add(key)
        return self._values[key]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def ignore(self, *keys: str) -> None:
        """Marks options as read that have no effect on inference.

        Args:
            *keys: their names.
        """
        self._seen.update(keys)

    def require(self, key: str, *allowed: Any) -> Any:
        """An option of which only some values can be converted.

        Args:
            key: its name.
            *allowed: the values that can be converted, the default first.

        Returns:
            Its value; the default where the option is absent.

        Raises:
            LayerRefused: it has another value.
        """
        value = self.get(key, allowed[0])
        if value not in allowed:
            raise LayerRefused(f"{key}={value!r} is not supported")
        return value

    def finish(self) -> None:
        """Checks that every option was looked at; called for you after a converter has returned.

        Raises:
            LayerRefused: an option was never looked at and is set.
        """
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
                f"option {', '.join(f'{key}={self._values[key]!r}' for key in sorted(unread))} "
                "is unknown to this version of lmjax"
            )


class KerasLayer(nn.Module):
    """A Keras layer with inference semantics as a pure Flax module.

    Subclasses add hashable fields (numbers, strings, tuples), so that two conversions of equal
    layers are equal and share their compiled functions. Parameters are declared with Keras' names
    and shapes in the collection ``"params"``; which of them are trained is the weight table's
    business, not the module's. A layer of one's own has :meth:`__call__`, :meth:`weights` if there
    are any, and whatever else differs from what is said here.

    Attributes:
        arguments: names of the arguments of Keras' ``call`` that ``__call__`` serves, in order; it
            calls the first one ``inputs``.
        config_names: options of the Keras config that describe inner layers, where they are not
            named as the layer's attribute.

    Example:
        A layer with a trained scale for each feature, and its converter.

        >>> import bridge
        >>> import flax.linen as nn
        >>> import jax.numpy as jnp
        >>> class Saturation(bridge.layers.KerasLayer):
        ...     limit: float
        ...
        ...     @classmethod
        ...     def from_config(cls, config):
        ...         return cls(limit=config["limit"])
        ...
        ...     def weights(self):
        ...         return (bridge.layers.Weight("scale"),)
        ...
        ...     @nn.compact
        ...     def __call__(self, inputs, mask=None):
        ...         ones = nn.initializers.ones
        ...         scale = self.param("scale", ones, inputs.shape[-1:], inputs.dtype)
        ...         return scale * inputs / (self.limit + jnp.abs(inputs))
        >>> convert = bridge.register_converter("laboratory>Saturation")(Saturation.from_config)
        >>> layer = convert(bridge.layers.LayerConfig({"limit": 1.0}))
        >>> layer.apply({"params": {"scale": jnp.ones(2)}}, jnp.array([[1.0, 3.0]])).tolist()
        [[0.5, 0.75]]
        >>> bridge.unregister_converter("laboratory>Saturation")
    """

    arguments: ClassVar[tuple[str, ...]] = ("inputs", "mask")

    config_names: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        """The module for a Keras config.

        Args:
            config: that of the Keras layer.

        Returns:
            The module.

        Raises:
            LayerRefused: the layer cannot be converted exactly.
        """
        raise NotImplementedError(f"{cls.__name__}.from_config")

    def takes(self, argument: str) -> bool:
        """Whether the layer can be called with an argument.

        Args:
            argument: the name that Keras' ``call`` has for it.

        Returns:
            True for ``mask`` and those of :attr:`arguments`.
        """
        return argument in self.arguments or argument == "mask"

    def weights(self) -> tuple[Weight, ...]:
        """The layer's own weights, without those of its children.

        Returns:
            A :class:`Weight` for each, in Keras' order (trainable first); none, here.
        """
        return ()

    def children(self) -> dict[str, KerasLayer]:
        """Inner layers by the attribute under which the Keras layer holds them (``cell``,
        ``forward_layer``, …).

        A field that holds a layer is named as the Keras attribute, so the fields are the answer.
        Layers in a tuple have their position behind the field's name (``cells_0``), as Flax names
        them.

        Returns:
            The inner layers by name.
        """
        return {name: layer for name, layer, _ in self._held()}

    def position(self, child: str) -> tuple[str, int] | None:
        """Where the Keras layer holds an inner layer.

        Args:
            child: its name, as of :meth:`children`.

        Returns:
            The attribute with the list that holds it, and its place there; None when it is no item
            of a list.
        """
        return next((place for name, _, place in self._held() if name == child), None)

    def _held(self) -> Iterator[tuple[str, KerasLayer, tuple[str, int] | None]]:
        for field in dataclasses.fields(self):
            value = None if field.name in ("parent", "name") else getattr(self, field.name)
            if isinstance(value, KerasLayer):
                yield field.name, value, None
            elif isinstance(value, tuple) and any(isinstance(item, KerasLayer) for item in value):
                yield from (
                    (f"{field.name}_{number}", item, (field.name, number))
                    for number, item in enumerate(value)
                )

    def compute_mask(self, inputs: PyTree, mask: Mask) -> Mask:
        """The mask handed to the next layer.

        Args:
            inputs: what the layer gets: an array (batch, …), or a list of them.
            mask: booleans (batch, time), or None; a list of masks for a list of inputs.

        Returns:
            The mask of the outputs, a list for a list of outputs; here the one received.
        """
        return mask

    def unmasks_inputs(self) -> bool:
        """Whether Keras deletes the masks of the layer's inputs, so that layers that read these
        later see none.

        Returns:
            False, here.
        """
        return False

    def ignores_training(self) -> bool:
        """Whether the layer computes the same in training, which some calls of Keras' own ask
        for.

        Returns:
            False, here.
        """
        return False

    def takes_indices(self) -> bool:
        """Whether the layer's inputs are indices into a table, as an Embedding's.

        Returns:
            False, here.
        """
        return False

    def rounds_to_single(self) -> bool:
        """Whether the layer, or one within it, computes in single precision (or less) whatever its
        inputs are.

        Returns:
            True if it does; a fit is then in float32 by default.
        """
        adapter = getattr(self, "adapter", None)
        return (adapter is not None and adapter.single) or any(
            child.rounds_to_single() for child in self.children().values()
        )

    def __call__(self, inputs: PyTree, mask: Mask = None) -> PyTree:
        """The layer's outputs, of the inputs' dtype where they are floating-point numbers; pure and
        traced. ``mask`` is boolean (batch, time), or None; a list of masks for a list of inputs.
        """
        raise NotImplementedError(f"{type(self).__name__}.__call__")


Activation = Callable[[jax.Array], jax.Array]
