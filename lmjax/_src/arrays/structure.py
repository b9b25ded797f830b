"""Params as one vector and back, with a description of the structure that can be a static argument
of ``jit``.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.runtime import precision
from lmjax._src.runtime.meshes import automatic, automatic_axes, returned
from lmjax._src.typing import Array, DType, NumpyArray, PyTree

#: From this size on the pieces of a vector are written into place one by one: XLA:CPU takes 278 ms
#: for the concatenation of 13.5 million numbers and 18 ms for this, 72 and 42 ms for 10 000 rows of
#: 2 041. Below, it fuses a concatenation.
_LARGE = 512


@dataclasses.dataclass(frozen=True)
class Structure:
    """The tree structure and leaf shapes of params; equal for equal structures, unlike
    ``ravel_pytree``'s closure.
    """

    treedef: jax.tree_util.PyTreeDef
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tree: PyTree) -> Structure:
        """The structure of a pytree of arrays."""
        leaves, treedef = jax.tree.flatten(tree)
        return cls(treedef, tuple(np.shape(leaf) for leaf in leaves))

    @property
    def size(self) -> int:
        """The number of scalars P in the tree."""
        return sum(math.prod(shape) for shape in self.shapes)

    def name(self, index: int) -> str:
        """What a caller calls the entry of that ``index`` of the vector: ``params['b'][2]``."""
        paths = jax.tree_util.tree_flatten_with_path(
            jax.tree.unflatten(self.treedef, range(len(self.shapes)))
        )[0]
        for (path, _), shape in zip(paths, self.shapes, strict=True):
            if index < math.prod(shape):
                within = ", ".join(str(k) for k in np.unravel_index(index, shape)) if shape else ""
                return f"params{jax.tree_util.keystr(path)}" + (f"[{within}]" if within else "")
            index -= math.prod(shape)
        raise IndexError(f"no entry {index} more than there are")

    def array_name(self, index: int) -> str:
        """What a caller calls the array of that ``index``: ``params['b']``."""
        paths = jax.tree_util.tree_flatten_with_path(
            jax.tree.unflatten(self.treedef, range(len(self.shapes)))
        )[0]
        return f"params{jax.tree_util.keystr(paths[index][0])}"

    def flatten(self, tree: PyTree) -> jax.Array:
        """The leaves of ``tree`` as one vector of shape (P,)."""
        return self.flatten_batch(tree, 0)

    def flatten_batch(self, tree: PyTree, batch_axes: int) -> jax.Array:
        """Leaves with ``batch_axes`` leading axes in common as one array of shape (*batch, P)."""
        leaves = [
            jnp.reshape(leaf, (*jnp.shape(leaf)[:batch_axes], -1)) for leaf in jax.tree.leaves(tree)
        ]
        if len(leaves) == 1 or self.size < _LARGE:
            return leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves, axis=-1)
        vector, start = jnp.zeros((*leaves[0].shape[:-1], self.size), jnp.result_type(*leaves)), 0
        for leaf in leaves:
            vector = jax.lax.dynamic_update_slice_in_dim(
                vector, leaf.astype(vector.dtype), start, axis=-1
            )
            start += leaf.shape[-1]
        return vector

    def flatten_concrete(self, tree: PyTree, dtype: DType) -> jax.Array | np.ndarray:
        """Like :meth:`flatten` for values that are not traced, in ``dtype``; on the host where the
        leaves are.
        """
        leaves = jax.tree.leaves(tree)
        if any(isinstance(leaf, jax.Array) for leaf in leaves):
            arrays = (
                automatic(leaf) if isinstance(leaf, jax.Array) else np.asarray(leaf, dtype)
                for leaf in leaves
            )
            return _flatten(self, jax.tree.unflatten(self.treedef, arrays)).astype(dtype)
        return np.concatenate([np.asarray(leaf, dtype).reshape(-1) for leaf in leaves])

    def split(self, vector: jax.Array | NumpyArray) -> list[Array]:
        """A vector of shape (P,) as the list of the arrays."""
        return jax.tree.leaves(self.unflatten(vector))

    def firsts(self, vector: jax.Array) -> jax.Array:
        """One entry of a vector (P,) for each array, shape (arrays,)."""
        starts = np.cumsum([0, *(math.prod(shape) for shape in self.shapes[:-1])])
        # What stands for an array without entries does not matter.
        return vector[np.minimum(starts, self.size - 1)]

    def spread(self, numbers: jax.Array) -> jax.Array:
        """A vector (P,) with one of the ``numbers`` (arrays,) throughout each array."""
        return self.flatten(
            [jnp.full(shape, numbers[index]) for index, shape in enumerate(self.shapes)]
        )

    def unflatten(self, vector: Vector) -> PyTree:
        """A vector as the tree; also for NumPy vectors, whose pieces stay NumPy."""
        if isinstance(vector, list):
            return jax.tree.unflatten(self.treedef, vector)
        leaves, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            leaves.append(vector[start : start + size].reshape(shape))
            start += size
        return jax.tree.unflatten(self.treedef, leaves)


def unflatten_returned(structure: Structure, vector: Vector, mesh: AbstractMesh | None) -> PyTree:
    """The tree to hand to a caller: NumPy for float64 while JAX's global mode would round it, else
    JAX arrays, on axes of the ``mesh``.
    """
    if isinstance(vector, jax.core.Tracer):
        return structure.unflatten(vector)
    if precision.is_rounded_by_jax(vectors.dtype(vector)):
        return structure.unflatten(jax.tree.map(np.array, vector))
    with automatic_axes():
        tree = (
            structure.unflatten(vector)
            if isinstance(vector, list)
            else _unflatten(structure, vector)
        )
    return returned(tree, mesh)


@partial(jax.jit, static_argnums=0)
def _flatten(structure: Structure, tree: PyTree) -> jax.Array:
    return structure.flatten(tree)


@partial(jax.jit, static_argnums=0)
def _unflatten(structure: Structure, vector: jax.Array) -> PyTree:
    return structure.unflatten(vector)


def spread(prefix: PyTree, params: PyTree, dtype: DType, name: str, expected: str) -> Array:
    """Numbers in a pytree that ``params`` extends, or one number for all, as a vector (P,) of
    ``dtype``.

    Raises:
        ValueError: they do not fit, naming the argument ``name`` and what is ``expected``.
    """
    try:
        tree = jax.tree.map(
            lambda number, leaf: np.broadcast_to(np.asarray(number, dtype), np.shape(leaf)),
            jax.tree.broadcast(prefix, params),
            params,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected {expected}; {error}") from error
    return np.asarray(Structure.of(params).flatten_concrete(tree, dtype))
