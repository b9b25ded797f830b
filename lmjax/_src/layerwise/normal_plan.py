"""Which parameters' structure saves work in JᵀJ, by counts of operations and of numbers written."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from lmjax._src.layerwise.parameter_uses import find_parameter_uses
from lmjax._src.layerwise.rules import ParameterUse
from lmjax._src.typing import Array, NumpyArray, PyTree

#: Operations in the time of which one number is written and read again; 70 to 250 were measured on
#: two cores.
_PER_NUMBER = 150


#: Operations that have to be saved in all before the larger program is worth its compilation.
_WORTHWHILE = 1e9


class Kernel(NamedTuple):
    """A parameter that meets its data in a product, once a sample."""

    leaf: int
    fan_in: int  #: K
    fan_out: int  #: F
    use: ParameterUse

    @property
    def size(self) -> int:
        return self.fan_in * self.fan_out


class _Work(NamedTuple):
    """For one sample."""

    operations: float  #: additions and multiplications
    numbers: float  #: that are written

    @property
    def time(self) -> float:
        """In operations."""
        return self.operations + _PER_NUMBER * self.numbers


class NormalPlan(NamedTuple):
    """Which parameters are taken by their structure; the others' rows of J are formed."""

    kernels: tuple[Kernel, ...]
    rest: tuple[int, ...]
    #: Where each entry of the flat params is among those of the kernels and then the rest
    order: NumpyArray
    rows: int  #: R, rows of J in a sample
    rest_size: int
    operations: float  #: for one sample
    numbers: int  #: kept of one sample at a time


def plan_normal(
    function: Callable[[list[jax.Array], PyTree], jax.Array],
    params: Sequence[Array],
    inputs: PyTree,
    rows: int,
    samples: int,
) -> NormalPlan | None:
    """How JᵀJ of ``function`` (params, inputs of one sample) is best summed, None for as the
    product of J; shapes are enough.
    """
    uses, _ = find_parameter_uses(function, params, inputs)
    kernels = tuple(
        Kernel(m.leaf, m.length, m.features, m) for m in uses if _is_kernel(m, params[m.leaf])
    )
    kernels = tuple(
        kernel
        for kernel in kernels
        if _self_work(kernel, rows).time < _plain_work(kernel.size, rows).time
    )
    size = sum(leaf.size for leaf in params)
    rest = tuple(i for i in range(len(params)) if i not in {kernel.leaf for kernel in kernels})
    rest_size = sum(params[i].size for i in rest)
    parts = [_plain_work(rest_size, rows)]
    parts += [_self_work(kernel, rows) for kernel in kernels]
    parts += [_cross_work(one, other, rows) for one, other in itertools.combinations(kernels, 2)]
    parts += [
        min(beside_work(kernel, rest_size, rows), key=lambda work: work.time) for kernel in kernels
    ]
    saved = _plain_work(size, rows).time - sum(part.time for part in parts)
    if not kernels or samples * saved < _WORTHWHILE:
        return None
    operations, numbers = (
        sum(part.operations for part in parts),
        math.ceil(sum(part.numbers for part in parts)),
    )
    return NormalPlan(
        kernels, rest, _order(kernels, rest, params), rows, rest_size, operations, numbers
    )


def _is_kernel(use: ParameterUse, leaf: Array) -> bool:
    """Whether all of the parameter meets its data in a product, once a sample."""
    return (
        bool(use.contracted)
        and use.groups == use.positions == 1
        and use.length * use.features == leaf.size
    )


def _plain_work(size: int, rows: int) -> _Work:
    """Of the product of J with itself, half of which is done."""
    return _Work(rows * size**2, rows * size)


def _self_work(kernel: Kernel, rows: int) -> _Work:
    inner, outer = triangle(kernel.fan_in), triangle(kernel.fan_out)
    return _Work(2 * inner * outer + 2 * rows * outer, inner + outer)


def _cross_work(one: Kernel, other: Kernel, rows: int) -> _Work:
    inner, outer = one.fan_in * other.fan_in, one.fan_out * other.fan_out
    return _Work(2 * inner * outer + 2 * rows * outer, inner + outer)


def beside_work(kernel: Kernel, rest: int, rows: int) -> tuple[_Work, _Work]:
    """Of the block of a kernel and the rest: with the kernel's rows of J, and with sums over the
    rows of a sample.
    """
    outer = kernel.fan_out * rest
    return _Work(2 * rows * kernel.size * rest, rows * kernel.size), _Work(
        2 * kernel.fan_in * outer + 2 * rows * outer, outer
    )


def triangle(size: int) -> int:
    return size * (size + 1) // 2


def _order(kernels: Sequence[Kernel], rest: Sequence[int], params: Sequence[Array]) -> NumpyArray:
    starts = np.concatenate([[0], np.cumsum([leaf.size for leaf in params])])
    entries = []
    for kernel in kernels:
        numbered = kernel.use.view.of(np.arange(kernel.size).reshape(params[kernel.leaf].shape))
        outputs = [axis for axis in range(numbered.ndim) if axis not in kernel.use.contracted]
        entries.append(
            starts[kernel.leaf] + numbered.transpose(*kernel.use.contracted, *outputs).reshape(-1)
        )
    entries += [np.arange(starts[leaf], starts[leaf + 1]) for leaf in rest]
    return np.argsort(np.concatenate(entries))
