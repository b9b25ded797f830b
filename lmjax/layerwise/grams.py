"""J Jᵀ, parameter by parameter, from what the meetings noted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lmjax.layerwise.meetings import Meeting, find_meetings, follow

#: The most memory for the rows of J of one parameter, in bytes; a larger one is worked off in slices of its columns.
BLOCK_BYTES = 128 * 2**20

_HIGHEST = jax.lax.Precision.HIGHEST


def gram_matrices(
    function: Callable[[list[jax.Array], Any], jax.Array],
    params: Sequence[jax.Array],
    inputs: Any,
    cotangents: Callable[[jax.Array, Any], jax.Array],
    beside: Any,
) -> tuple[jax.Array, list[jax.Array | None]]:
    """The outputs, and for every parameter J_leaf J_leafᵀ.

    Args:
        function: maps (params, inputs) of one sample to its outputs.
        params: a list of arrays.
        inputs: a pytree of arrays with one row for each of N samples.
        cotangents: maps (outputs, beside) of one sample to R weightings of the outputs, (R, *outputs.shape), which make
            the rows of J.
        beside: a pytree of arrays with one row for each sample.

    Returns:
        The outputs (N, …), and a matrix (N·R, N·R) for each parameter, None for one that the function does not use.
        Memory: those matrices, the derivatives in the outputs of every layer, and :data:`BLOCK_BYTES`; never J.
    """
    params = list(params)
    one = jax.tree.map(lambda leaf: leaf[0], inputs)
    meetings, opaque = find_meetings(function, params, one)
    exposed = sorted(opaque)
    dtype = params[0].dtype

    def per_sample(inputs: Any, beside: Any) -> tuple[jax.Array, list[jax.Array], list[jax.Array], list[jax.Array]]:
        def perturbed(perturbations: list[jax.Array], leaves: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
            changed = dict(zip(exposed, leaves, strict=True))
            return follow(function, [changed.get(i, leaf) for i, leaf in enumerate(params)], inputs, opaque, perturbations)

        zeros = [jnp.zeros(meeting.shape, dtype) for meeting in meetings]
        outputs, pull, noted = jax.vjp(perturbed, zeros, [params[i] for i in exposed], has_aux=True)
        deltas, blocks = jax.vmap(pull)(cotangents(outputs, beside))
        return outputs, noted, deltas, blocks

    outputs, noted, deltas, blocks = jax.vmap(per_sample)(inputs, beside)
    matrices: list[jax.Array | None] = [None] * len(params)
    for meeting, data, delta in zip(meetings, noted, deltas, strict=True):
        matrices[meeting.leaf] = _of_meeting(meeting, data, delta, params[meeting.leaf])
    for leaf, block in zip(exposed, blocks, strict=True):
        matrices[leaf] = _self_product(_as_rows(block))
    return outputs, matrices


def gram_operations(
    function: Callable[[list[jax.Array], Any], jax.Array], params: Sequence[Any], inputs: Any, samples: int, rows: int
) -> float:
    """Additions and multiplications of :func:`gram_matrices` for so many samples, with so many rows of J each.

    ``params`` and ``inputs`` (of one sample, with the axis of samples) may be shapes.
    """
    meetings, opaque = find_meetings(function, params, inputs)
    total = sum(2.0 * (samples * rows) ** 2 * params[leaf].size for leaf in opaque)
    for meeting in meetings:
        size, positions = params[meeting.leaf].size, math.prod(meeting.shape) // meeting.features
        if meeting.kind == "product" and positions == 1:
            total += 2.0 * samples**2 * (size // meeting.features) + 2.0 * (samples * rows) ** 2 * meeting.features
        else:
            total += 2.0 * (samples * rows) ** 2 * size + 2.0 * samples * rows * positions * size
    return total


def _of_meeting(meeting: Meeting, data: jax.Array, deltas: jax.Array, leaf: jax.Array) -> jax.Array:
    """``data`` (N, …), ``deltas`` (N, R, *shape)."""
    if meeting.kind == "entrywise":
        assert meeting.view is not None
        transposed = jax.linear_transpose(meeting.view, leaf)
        rows = jax.vmap(lambda a, ds: jax.vmap(lambda d: transposed(a * d)[0])(ds))(data, deltas)
        return _self_product(_as_rows(rows))
    arranged = jax.vmap(jax.vmap(meeting.arranged))(deltas)  # (N, R, T, F)
    return _lookup(data, arranged, leaf.size) if meeting.kind == "lookup" else _product(data, arranged)


def _product(data: jax.Array, deltas: jax.Array) -> jax.Array:
    """Data a (N, T, K), derivatives δ (N, R, T, F): the rows Σₜ aₜ ⊗ δₜ against each other."""
    samples, rows, positions, features = deltas.shape
    if positions == 1:
        between_samples = jnp.repeat(jnp.repeat(_self_product(data[:, 0]), rows, 0), rows, 1)
        return between_samples * _self_product(deltas.reshape(samples * rows, features))

    def part(part_of_deltas: jax.Array) -> jax.Array:
        return _self_product(_as_rows(jnp.einsum("ntk,nrtf->nrkf", data, part_of_deltas, precision=_HIGHEST)))

    column_bytes = samples * rows * data.shape[-1] * data.dtype.itemsize
    return _in_slices(part, deltas, max(1, BLOCK_BYTES // column_bytes))


def _lookup(indices: jax.Array, deltas: jax.Array, size: int) -> jax.Array:
    """Table rows (N, T), derivatives δ (N, R, T, F) in them."""
    samples, rows, positions, features = deltas.shape
    if samples * rows * size * deltas.dtype.itemsize <= BLOCK_BYTES:
        table = jnp.zeros((size // features, features), deltas.dtype)
        blocks = jax.vmap(lambda i, ds: jax.vmap(lambda d: table.at[i].add(d))(ds))(indices, deltas)
        return _self_product(_as_rows(blocks))

    def pair(index: jax.Array, total: jax.Array) -> jax.Array:
        here, there = index // positions, index % positions
        same = indices[:, here][:, None] == indices[:, there][None, :]
        left, right = (jax.lax.dynamic_index_in_dim(deltas, t, 2, keepdims=False).reshape(samples * rows, features) for t in (here, there))
        between = jnp.matmul(left, right.T, precision=_HIGHEST).reshape(samples, rows, samples, rows)
        return total + jnp.where(same[:, None, :, None], between, 0)

    total = jax.lax.fori_loop(0, positions**2, pair, jnp.zeros((samples, rows, samples, rows), deltas.dtype))
    return total.reshape(samples * rows, samples * rows)


def _in_slices(part: Callable[[jax.Array], jax.Array], deltas: jax.Array, width: int) -> jax.Array:
    """The sum of ``part`` over slices of ``width`` of the last axis, one at a time."""
    features = deltas.shape[-1]
    if width >= features:
        return part(deltas)
    whole = math.floor(features / width)
    total = jax.lax.fori_loop(
        1,
        whole,
        lambda k, sum_: sum_ + part(jax.lax.dynamic_slice_in_dim(deltas, k * width, width, -1)),
        part(deltas[..., :width]),
    )
    return total if whole * width == features else total + part(deltas[..., whole * width :])


def _as_rows(blocks: jax.Array) -> jax.Array:
    return blocks.reshape(blocks.shape[0] * blocks.shape[1], -1)


def _self_product(rows: jax.Array) -> jax.Array:
    return jnp.matmul(rows, rows.T, precision=_HIGHEST)
