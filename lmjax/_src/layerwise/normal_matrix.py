"""JᵀJ of a model from the structure that its jaxpr shows: less work than the symmetric product of J
with itself.

A sample's rows of J for a dense kernel are aᵢ δᵣⱼ, with a the layer's inputs and δᵣ the derivatives
of row r in its outputs. So the block of JᵀJ for two kernels has the entries

    Σₙ (aᵢ a'ₖ) (Σᵣ δᵣⱼ δ'ᵣₗ),

a product of two matrices with a row for each sample, whatever the number of rows of J in a sample.
In the block of a kernel with itself both factors are symmetric, so that only a quarter of the
entries are different. On two cores, 10 000 samples of 8-40-40-1 (2 041 parameters), JᵀJ takes 197
ms in float32 and 396 ms in float64 this way, J included, where BLAS' symmetric product of a given J
takes 231 and 479 ms. The factorisation is that of Kronecker-factored curvature (J. Martens, R.
Grosse, ICML 2015), without the approximation made there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from lmjax._src.arrays.products import HIGHEST, gram, product
from lmjax._src.arrays.structure import Structure
from lmjax._src.layerwise.normal_plan import Kernel, NormalPlan, beside_work, triangle
from lmjax._src.layerwise.parameter_uses import follow
from lmjax._src.runtime import precision
from lmjax._src.typing import Array, NumpyArray, PyTree


class Blocks(NamedTuple):
    """Sums over samples, from which :func:`assembled` makes JᵀJ."""

    kernels: list[jax.Array]  #: for each pair of kernels: entries as described above
    beside: list[jax.Array]  #: for each kernel against the rest, (K, F, rest)
    rest: jax.Array  #: (rest, rest)


def normal_sums(
    plan: NormalPlan,
    function: Callable[[list[jax.Array], PyTree], jax.Array],
    params: Sequence[jax.Array],
    inputs: PyTree,
    cotangents: Callable[[jax.Array, PyTree], jax.Array],
    beside: PyTree,
    residuals: Callable[[jax.Array, PyTree], jax.Array],
    counted: jax.Array | None,
    sums: DTypeLike,
) -> tuple[jax.Array, Blocks, jax.Array]:
    """The outputs, the blocks of JᵀJ, and the gradient Jᵀr.

    Args:
        plan: of :func:`plan_normal`.
        function: maps (params, inputs) of one sample to its outputs.
        params: a list of arrays.
        inputs: a pytree of arrays with one row for each of N samples.
        cotangents: maps (outputs, beside) of one sample to R weightings of the outputs, (R,
            *outputs.shape), which make the rows of J.
        beside: a pytree of arrays with one row for each sample.
        residuals: maps (outputs, beside) of one sample to r, (R,).
        counted: which samples are part of the sums, (N,); None for all.
        sums: the dtype in which they are summed.
    """
    params, opaque, dtype = list(params), frozenset(plan.rest), params[0].dtype

    def per_sample(inputs: PyTree, beside: PyTree) -> tuple[PyTree, ...]:
        def perturbed(
            perturbations: list[jax.Array], leaves: list[jax.Array]
        ) -> tuple[jax.Array, list[jax.Array]]:
            changed = dict(zip(plan.rest, leaves, strict=True))
            return follow(
                function,
                [changed.get(i, leaf) for i, leaf in enumerate(params)],
                inputs,
                opaque,
                perturbations,
            )

        zeros = [jnp.zeros(kernel.use.shape, dtype) for kernel in plan.kernels]
        outputs, pull, noted = jax.vjp(
            perturbed, zeros, [params[i] for i in plan.rest], has_aux=True
        )
        deltas, blocks = jax.vmap(pull)(cotangents(outputs, beside))
        deltas = [
            delta.reshape(plan.rows, kernel.fan_out)
            for kernel, delta in zip(plan.kernels, deltas, strict=True)
        ]
        data = [a.reshape(kernel.fan_in) for kernel, a in zip(plan.kernels, noted, strict=True)]
        rest = (
            Structure.of([params[i] for i in plan.rest]).flatten_batch(blocks, 1)
            if blocks
            else jnp.zeros((plan.rows, 0), dtype)
        )
        return outputs, data, deltas, rest, residuals(outputs, beside)

    outputs, *factors = jax.vmap(per_sample)(inputs, beside)
    with precision.kept(sums):
        data, deltas, rest, errors = jax.tree.map(lambda leaf: leaf.astype(sums), factors)
        return outputs, *_summed(plan, data, deltas, rest, errors, counted)


def _summed(
    plan: NormalPlan,
    data: list[jax.Array],
    deltas: list[jax.Array],
    rest: jax.Array,
    errors: jax.Array,
    counted: jax.Array | None,
) -> tuple[Blocks, jax.Array]:
    """The blocks and the gradient, from each sample's data and derivatives in the kernels' outputs,
    rows of J, and residuals.
    """
    if counted is not None:
        deltas, rest = jax.tree.map(
            lambda leaf: jnp.where(counted.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0),
            (deltas, rest),
        )
    weighted = [jnp.einsum("nrf,nr->nf", d, errors, precision=HIGHEST) for d in deltas]
    gradient = [_over_samples(a, d).ravel() for a, d in zip(data, weighted, strict=True)]
    gradient.append(jnp.einsum("nr,nrs->s", errors, rest, precision=HIGHEST))
    factors = list(zip(plan.kernels, data, deltas, strict=True))
    blocks = Blocks(
        [
            _self_block(*one[1:]) if one is other else _cross_block(*one[1:], *other[1:])
            for one, other in _pairs(factors)
        ],
        [_beside_block(kernel, a, d, rest) for kernel, a, d in factors],
        gram(rest.reshape(-1, plan.rest_size)) if plan.rest_size else jnp.zeros((0, 0), rest.dtype),
    )
    return blocks, jnp.concatenate(gradient)[plan.order]


def assembled(plan: NormalPlan, blocks: Blocks) -> jax.Array:
    """JᵀJ, (P, P), in the order of the flat params."""
    with precision.kept(blocks.rest.dtype):
        return _assembled(plan, blocks)


def _assembled(plan: NormalPlan, blocks: Blocks) -> jax.Array:
    count = len(plan.kernels)
    table: list[list[Array]] = [[None] * (count + 1) for _ in range(count + 1)]
    for (one, other), block in zip(_pairs(list(range(count))), blocks.kernels, strict=True):
        square = (
            _spread(plan.kernels[one], block)
            if one == other
            else _interleaved(plan.kernels[one], plan.kernels[other], block)
        )
        table[one][other], table[other][one] = square, square if one == other else square.T
    for index, block in enumerate(blocks.beside):
        table[index][count], table[count][index] = block, block.T
    table[count][count] = blocks.rest
    whole = jnp.concatenate([jnp.concatenate(row, axis=1) for row in table])
    if (plan.order == np.arange(plan.order.size)).all():
        return whole
    return whole[plan.order[:, None], plan.order[None, :]]


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    return list(itertools.combinations_with_replacement(items, 2))


def _self_block(data: jax.Array, deltas: jax.Array) -> jax.Array:
    """Data (N, K), derivatives (N, R, F): (pairs of K, pairs of F)."""
    (i, j), (k, m) = np.tril_indices(data.shape[1]), np.tril_indices(deltas.shape[2])
    return _over_samples(
        data[:, i] * data[:, j], jnp.sum(deltas[:, :, k] * deltas[:, :, m], axis=1)
    )


def _spread(kernel: Kernel, block: jax.Array) -> jax.Array:
    """A self block as (K·F, K·F)."""
    inner, outer = _pair_numbering(kernel.fan_in), _pair_numbering(kernel.fan_out)
    return block[inner[:, None, :, None], outer[None, :, None, :]].reshape(kernel.size, kernel.size)


def _pair_numbering(size: int) -> NumpyArray:
    """(size, size): which of the pairs (i, j) with i ≥ j it is, in the order of
    ``np.tril_indices``.
    """
    numbers = np.zeros((size, size), int)
    numbers[np.tril_indices(size)] = np.arange(triangle(size))
    return np.maximum(numbers, numbers.T)


def _cross_block(
    data: jax.Array, deltas: jax.Array, other_data: jax.Array, other_deltas: jax.Array
) -> jax.Array:
    """(K·K', F·F')."""
    inner = jnp.einsum("nk,nl->nkl", data, other_data).reshape(data.shape[0], -1)
    outer = jnp.einsum("nrf,nrg->nfg", deltas, other_deltas, precision=HIGHEST).reshape(
        data.shape[0], -1
    )
    return _over_samples(inner, outer)


def _interleaved(one: Kernel, other: Kernel, block: jax.Array) -> jax.Array:
    """A cross block as (K·F, K'·F')."""
    return (
        block.reshape(one.fan_in, other.fan_in, one.fan_out, other.fan_out)
        .transpose(0, 2, 1, 3)
        .reshape(one.size, other.size)
    )


def _beside_block(kernel: Kernel, data: jax.Array, deltas: jax.Array, rest: jax.Array) -> jax.Array:
    """(K·F, rest)."""
    samples, rows, size = rest.shape
    formed, summed = beside_work(kernel, size, rows)
    if formed.time <= summed.time:
        own = (data[:, None, :, None] * deltas[:, :, None, :]).reshape(samples * rows, kernel.size)
        return _over_samples(own, rest.reshape(samples * rows, size))
    outer = jnp.einsum("nrf,nrs->nfs", deltas, rest, precision=HIGHEST).reshape(samples, -1)
    return _over_samples(data, outer).reshape(kernel.size, size)


def _over_samples(one: jax.Array, other: jax.Array) -> jax.Array:
    return product(one.T, other)
