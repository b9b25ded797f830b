"""Data on meshes with explicit axes, as ``jax.make_mesh`` makes them.

There JAX takes the sharding for a part of each array's type, and asks whoever traces to say where
every sum over rows shall lie. Fits leave that to the compiler: they see the same shards, on the
devices where they are, as those of a mesh with automatic axes. What is returned has the caller's
mesh again, since JAX computes with arrays of one mesh only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import (
    AbstractMesh,
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    get_abstract_mesh,
    use_abstract_mesh,
)

from lmjax._src.typing import Array, PyTree


def automatic(tree: PyTree) -> PyTree:
    """``tree`` with its arrays on explicit axes as arrays on automatic ones, of which no number is
    copied; traced ones as they are.
    """
    return (
        tree
        if all(_mesh_of(leaf) is None for leaf in jax.tree.leaves(tree))
        else jax.tree.map(_automatic, tree)
    )


def explicit_mesh(tree: PyTree) -> AbstractMesh | None:
    """The mesh with explicit axes on which arrays of ``tree`` lie, or that ``jax.set_mesh`` has put
    in force; None without.

    Streams of data, which are no trees, may stand in it.
    """
    meshes = (
        _mesh_of(leaf)
        for leaf in jax.tree.leaves(tree, is_leaf=lambda each: isinstance(each, Iterator))
    )
    return next((mesh.abstract_mesh for mesh in meshes if mesh is not None), _in_force())


def returned(tree: PyTree, mesh: AbstractMesh | None) -> PyTree:
    """Results on automatic axes as arrays on the caller's ``mesh``, as :func:`explicit_mesh` tells
    it; whole on every device, so that they meet other arrays of the mesh, whatever the compiler has
    chosen.
    """
    return tree if mesh is None else jax.tree.map(lambda leaf: _labelled(leaf, mesh), tree)


def automatic_axes() -> AbstractContextManager[object]:
    """A context in which the axes that ``jax.set_mesh`` has put in force are automatic; inside a
    caller's ``jit`` they stay as they are.
    """
    mesh = _in_force()
    if mesh is None or isinstance(jnp.zeros(()), jax.core.Tracer):
        return nullcontext()
    return use_abstract_mesh(
        mesh.update_axis_types(dict.fromkeys(mesh.explicit_axes, AxisType.Auto))
    )


def _in_force() -> AbstractMesh | None:
    mesh = get_abstract_mesh()
    return mesh if mesh.explicit_axes else None


def _mesh_of(leaf: Any) -> Mesh | None:
    """The mesh with explicit axes on which it lies."""
    if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
        return None
    mesh = leaf.sharding.mesh if isinstance(leaf.sharding, NamedSharding) else None
    return mesh if isinstance(mesh, Mesh) and mesh.explicit_axes else None


def _automatic(leaf: Array) -> Array:
    mesh = _mesh_of(leaf)
    return (
        leaf
        if mesh is None
        else jax.device_put(
            leaf, NamedSharding(Mesh(mesh.devices, mesh.axis_names), leaf.sharding.spec)
        )
    )


def _labelled(leaf: Array, mesh: AbstractMesh) -> Array:
    sharding = (
        leaf.sharding
        if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
        else None
    )
    own = sharding.mesh if isinstance(sharding, NamedSharding) else None
    if not isinstance(own, Mesh) or own.shape_tuple != mesh.shape_tuple:
        return leaf
    return jax.device_put(
        leaf,
        NamedSharding(
            Mesh(own.devices, mesh.axis_names, axis_types=mesh.axis_types), PartitionSpec()
        ),
    )
