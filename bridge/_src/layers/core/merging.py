"""Layers that merge several tensors: Add, Subtract, Multiply, Average, Maximum, Minimum,
Concatenate, Dot.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp

from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.core.normalization import unit_vectors
from bridge._src.layers.pieces import joined
from bridge._src.layers.registry import add, converts
from lmjax._src.typing import ArrayLike, PyTree

#: ``keras.config.epsilon()``: the smallest norm by which Dot divides.
SMALLEST_NORM = 1e-7

Masks = Sequence[jax.Array | None] | None


class Merge(KerasLayer):
    """An elementwise function of several tensors, which broadcast; missing axes are added behind
    the batch axis.

    A masked result is masked where all inputs are; it has no mask when one input has none.
    """

    function: str

    @classmethod
    def called(cls, function: str, config: LayerConfig) -> Self:
        """The module for a Keras config of the class ``function``."""
        return cls(function=function)

    def compute_mask(self, inputs: PyTree, mask: Masks) -> jax.Array | None:
        if mask is None or any(one is None for one in mask):
            return None
        return _any(mask)

    def __call__(self, inputs: Sequence[jax.Array], mask: Masks = None) -> jax.Array:
        if self.function in _EXTREMES and mask is not None:
            return _extreme(_EXTREMES[self.function], inputs, mask)
        return MERGES[self.function](_same_rank(inputs))


def _extreme(
    function: Callable[[Any, Any], jax.Array], inputs: Sequence[jax.Array], masks: Sequence[Any]
) -> jax.Array:
    """As Keras has it: of a masked entry the other tensor's counts, of two the first one's."""
    rank = max(tensor.ndim for tensor in inputs)
    tensors = _same_rank(inputs)
    # Keras loses the mask of a tensor to which it adds axes.
    kept = [
        None if one is None or given.ndim < rank else jnp.broadcast_to(one[..., None], tensor.shape)
        for given, tensor, one in zip(inputs, tensors, masks, strict=True)
    ]
    output, covered = tensors[0], kept[0]
    for tensor, one in zip(tensors[1:], kept[1:], strict=True):
        other = tensor if one is None else jnp.where(one, tensor, output)
        if covered is not None:
            output = jnp.where(covered, output, other)
        covered = None if one is None or covered is None else covered | one
        output = function(output, other)
    return output


def _any(masks: Sequence[ArrayLike]) -> jax.Array:
    combined: jax.Array = functools.reduce(operator.or_, masks)
    return combined


def _same_rank(tensors: Sequence[jax.Array]) -> list[jax.Array]:
    rank = max(tensor.ndim for tensor in tensors)
    return [
        tensor.reshape(tensor.shape[0], *(1,) * (rank - tensor.ndim), *tensor.shape[1:])
        for tensor in tensors
    ]


def _fold(function: Callable[[Any, Any], jax.Array]) -> Callable[[Sequence[jax.Array]], jax.Array]:
    return lambda tensors: functools.reduce(function, tensors)


#: Those whose values at masked steps depend on the masks.
_EXTREMES: Mapping[str, Callable[[Any, Any], jax.Array]] = {
    "Maximum": jnp.maximum,
    "Minimum": jnp.minimum,
}

#: The elementwise functions by Keras' class name, where nothing is masked.
MERGES: Mapping[str, Callable[[Sequence[jax.Array]], jax.Array]] = {
    "Add": _fold(operator.add),
    "Average": lambda tensors: functools.reduce(operator.add, tensors) / len(tensors),
    **{name: _fold(function) for name, function in _EXTREMES.items()},
    "Subtract": _fold(operator.sub),
}
for _name in MERGES:
    add(_name, functools.partial(Merge.called, _name))


@converts("Multiply")
class Multiply(KerasLayer):
    """The product of several tensors; a masked entry counts as 1, and as 0 where all inputs are
    masked.
    """

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls()

    def compute_mask(self, inputs: PyTree, mask: Masks) -> jax.Array | None:
        return Merge.compute_mask(self, inputs, mask)  # type: ignore[arg-type]

    def __call__(self, inputs: Sequence[jax.Array], mask: Masks = None) -> jax.Array:
        rank = max(tensor.ndim for tensor in inputs)
        # Keras loses the mask of a tensor to which it adds axes.
        kept = [
            None if one is None or tensor.ndim < rank else one[..., None].astype(bool)
            for tensor, one in zip(inputs, mask or [None] * len(inputs), strict=True)
        ]
        tensors = _same_rank(inputs)
        product = functools.reduce(
            operator.mul,
            (
                x if keep is None else jnp.where(keep, x, 1)
                for x, keep in zip(tensors, kept, strict=True)
            ),
        )
        if any(keep is None for keep in kept):
            return product
        return jnp.where(_any(kept), product, 0)


@converts("Concatenate")
class Concatenate(KerasLayer):
    """Tensors one behind the other along ``axis``; inputs without a mask count as unmasked if
    others have one.
    """

    axis: int = -1

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(axis=config.get("axis", -1))

    def compute_mask(self, inputs: Sequence[jax.Array], mask: Masks) -> jax.Array | None:
        if mask is None or all(one is None for one in mask):
            return None
        full = [_full_mask(tensor, one) for tensor, one in zip(inputs, mask, strict=True)]
        return jnp.any(jnp.concatenate(full, axis=self.axis), axis=-1)

    def __call__(self, inputs: Sequence[jax.Array], mask: Masks = None) -> jax.Array:
        return joined(inputs, self.axis)


def _full_mask(tensor: jax.Array, mask: jax.Array | None) -> jax.Array:
    """``mask`` in the shape of ``tensor``."""
    if mask is None:
        return jnp.ones(tensor.shape, bool)
    return jnp.broadcast_to(mask[..., None], tensor.shape) if mask.ndim < tensor.ndim else mask


@converts("Dot")
class Dot(KerasLayer):
    """Inner products of two tensors over one axis of each, sample by sample; of unit vectors with
    ``normalize``.
    """

    axes: int | tuple[int, int]
    normalize: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        axes = config["axes"]
        return cls(
            axes=axes if isinstance(axes, int) else tuple(axes),
            normalize=config.get("normalize", False),
        )

    def compute_mask(self, inputs: PyTree, mask: Masks) -> None:
        return None

    def __call__(self, inputs: Sequence[jax.Array], mask: Masks = None) -> jax.Array:
        pair = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        axes = [axis % tensor.ndim for axis, tensor in zip(pair, inputs, strict=True)]
        if self.normalize:
            inputs = [
                unit_vectors(tensor, axis, SMALLEST_NORM)
                for tensor, axis in zip(inputs, axes, strict=True)
            ]
        one, other = (
            jnp.moveaxis(tensor, axis, -1) for tensor, axis in zip(inputs, axes, strict=True)
        )
        letters = iter("abcdefghijklmnopqrstuvw")
        free = ["".join(next(letters) for _ in range(tensor.ndim - 2)) for tensor in (one, other)]
        products = jnp.einsum(f"y{free[0]}z,y{free[1]}z->y{free[0]}{free[1]}", one, other)
        return products[:, None] if products.ndim == 1 else products
