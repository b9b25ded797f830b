"""J Jᵀ, parameter by parameter, from what the uses noted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lmjax._src.layerwise import contractions
from lmjax._src.layerwise.contractions import (
    RowsOf,
    as_rows,
    in_pairs,
    of_rows,
    of_use,
    sample_pieces,
    self_product,
)
from lmjax._src.layerwise.parameter_uses import find_parameter_uses, follow
from lmjax._src.runtime import precision
from lmjax._src.typing import Array, PyTree, Scalar

Function = Callable[[list[jax.Array], PyTree], jax.Array]
Cotangents = Callable[[jax.Array, PyTree], jax.Array]


def gram_matrices(
    function: Function,
    params: Sequence[jax.Array],
    inputs: PyTree,
    cotangents: Cotangents,
    beside: PyTree,
    sums: DTypeLike,
) -> tuple[jax.Array, list[jax.Array | None]]:
    """The outputs, and for every parameter J_leaf J_leafᵀ.

    Args:
        function: maps (params, inputs) of one sample to its outputs.
        params: a list of arrays.
        inputs: a pytree of arrays with one row for each of N samples.
        cotangents: maps (outputs, beside) of one sample to R weightings of the outputs, (R,
            *outputs.shape), which make the rows of J.
        beside: a pytree of arrays with one row for each sample.
        sums: the dtype in which products are summed; those of opaque parameters whose rows of J are
            made in pieces come in it only.

    Returns:
        The outputs (N, …), and a matrix (N·R, N·R) for each parameter, None for one that the
        function does not use. Memory: those matrices, the derivatives in the outputs of every
        layer, and about :data:`~lmjax._src.layerwise.contractions.BLOCK_BYTES` for rows of J, which
        are made and dropped one parameter at a time; never all of J.
    """
    params = list(params)
    uses, opaque = find_parameter_uses(function, params, jax.tree.map(lambda leaf: leaf[0], inputs))

    def per_sample(
        inputs: PyTree, beside: PyTree
    ) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
        zeros = [jnp.zeros(use.shape, params[use.leaf].dtype) for use in uses]
        outputs, pull, noted = jax.vjp(
            lambda z: follow(function, params, inputs, opaque, z), zeros, has_aux=True
        )
        return outputs, noted, jax.vmap(pull)(cotangents(outputs, beside))[0]

    outputs, noted, deltas = jax.vmap(per_sample)(inputs, beside)
    matrices: list[jax.Array | None] = [None] * len(params)
    for use, data, delta in zip(uses, noted, deltas, strict=True):
        with precision.kept(sums):
            matrix = of_use(
                use, *(_in_dtype(array, sums) for array in (data, delta, params[use.leaf]))
            )
            others = matrices[use.leaf]
            # Of other entries of the parameter.
            matrices[use.leaf] = matrix if others is None else others + matrix
    for leaf, matrix in _of_opaque(
        function, params, sorted(opaque), (inputs, beside), cotangents, sums
    ):
        matrices[leaf] = matrix
    return outputs, matrices


def _in_dtype(array: jax.Array, dtype: DTypeLike) -> jax.Array:
    """``array`` in ``dtype``; of indices nothing else."""
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _of_opaque(
    function: Function,
    params: list[jax.Array],
    opaque: Sequence[int],
    samples: PyTree,
    cotangents: Cotangents,
    sums: DTypeLike,
) -> Iterator[tuple[int, jax.Array]]:
    """The matrices of the opaque parameters, whose rows of J are made by reverse mode, those of
    small ones together.
    """
    count = jax.tree.leaves(samples)[0].shape[0]
    shapes = jax.eval_shape(
        lambda i, b: cotangents(function(params, i), b),
        *jax.tree.map(lambda leaf: leaf[0], samples),
    )
    rows, itemsize = shapes.shape[0], shapes.dtype.itemsize

    def blocks(leaves: Sequence[int], start: Scalar, number: int) -> list[jax.Array]:
        def of_one(inputs: PyTree, beside: PyTree) -> list[jax.Array]:
            def changed(values: list[jax.Array]) -> jax.Array:
                replaced = dict(zip(leaves, values, strict=True))
                return function([replaced.get(i, leaf) for i, leaf in enumerate(params)], inputs)

            outputs, pull = jax.vjp(changed, [params[leaf] for leaf in leaves])
            return jax.vmap(pull)(cotangents(outputs, beside))[0]

        piece = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, number), samples
        )
        return [as_rows(block) for block in jax.vmap(of_one)(*piece)]

    def rows_of(leaf: int) -> RowsOf:
        return lambda start, number: blocks([leaf], start, number)[0]

    for leaves in _grouped(
        opaque, [count * rows * params[leaf].size * itemsize for leaf in opaque]
    ):
        size = params[leaves[0]].size
        if sample_pieces(count, rows, size, itemsize=itemsize) < count:  # alone in its group
            matrix = of_rows(rows_of(leaves[0]), count, rows, size)
            with precision.kept(sums):
                matrix = matrix.astype(sums)
            yield leaves[0], matrix
            continue
        for leaf, block in zip(leaves, blocks(leaves, 0, count), strict=True):
            with precision.kept(sums):
                matrix = self_product(block.astype(sums))
            yield leaf, matrix


def _grouped(leaves: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """The leaves in groups of at most :data:`BLOCK_BYTES`; a larger one is alone."""
    groups: list[list[int]] = []
    total = 0
    for leaf, size in zip(leaves, sizes, strict=True):
        total += size
        if not groups or total > contractions.BLOCK_BYTES:
            groups.append([])
            total = size
        groups[-1].append(leaf)
    return groups


class GramCost(NamedTuple):
    """What :func:`gram_matrices` takes."""

    operations: float  #: additions and multiplications
    #: bytes beside the matrices: the derivatives in the outputs of every layer, and the largest
    #: block of rows of J
    memory: float


def gram_cost(
    function: Function,
    params: Sequence[Array],
    inputs: PyTree,
    samples: int,
    rows: int,
    backward: float = 0.0,
) -> GramCost:
    """The cost of :func:`gram_matrices` for so many samples, with so many rows of J each.

    ``params`` and ``inputs`` (of one sample, with the axis of samples) may be shapes; ``backward``
    are the operations of a reverse pass for one row of J, of which opaque parameters need more.
    """
    uses, opaque = find_parameter_uses(function, params, inputs)
    many, most, itemsize = samples * rows, contractions.BLOCK_BYTES, params[0].dtype.itemsize
    total, blocks = 0.0, [0.0]
    for leaf in opaque:
        size = params[leaf].size
        piece = sample_pieces(samples, rows, size, itemsize=itemsize)
        total += 2.0 * many**2 * size + (1 + samples / piece) / 2 * many * backward
        blocks.append((1.0 if piece == samples else 2.0) * piece * rows * size * itemsize)
    for use in uses:
        by_pairs, by_rows = in_pairs(samples, rows, use.positions, use.length, use.features)
        size = (
            params[use.leaf].size
            if use.kind == "entrywise"
            else use.groups * use.length * use.features
        )
        if use.kind == "product" and use.groups == 1 and by_pairs <= by_rows:
            total += by_pairs
        else:
            total += 2.0 * many * (many + use.positions) * size
            blocks.append(min(float(many * size * itemsize), most))
    derivatives = many * itemsize * sum(math.prod(use.shape) for use in uses)
    return GramCost(total, float(derivatives) + max(blocks))
