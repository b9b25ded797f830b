"""Jacobians that the caller supplies."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from lmjax._src.arrays.products import HIGHEST
from lmjax._src.typing import Array, Params, PyTree, TreeFn


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class WithJacobian:
    """A residual function whose derivative in the parameters is a function of the caller's.

    It takes the place of the derivative in every transformation, so that the steps, the final
    phase, the statistics and implicit derivatives all use it; derivatives of second order are those
    of ``jac``.

    Attributes:
        function: maps (params, *args) to residuals.
        jac: maps (params, *args) to what ``jax.jacfwd(function)`` gives: for every array of the
            residuals a tree like ``params`` of arrays of shape (*residuals.shape, *param.shape).
    """

    function: TreeFn
    jac: TreeFn

    def __call__(self, params: Params, *args: PyTree) -> PyTree:
        """The residuals."""
        return _call((self.function, self.jac), params, args)


@jax.custom_jvp
def _call(functions: tuple[TreeFn, TreeFn], params: Params, args: tuple[PyTree, ...]) -> PyTree:
    return functions[0](params, *args)


def _call_jvp(primals: PyTree, tangents: PyTree) -> tuple[PyTree, PyTree]:
    functions, params, args = primals
    functions_dot, params_dot, args_dot = tangents
    others_dot = (functions_dot[0], args_dot)
    if all(map(_is_zero, jax.tree.leaves(others_dot, is_leaf=_is_zero))):
        residuals = _call(functions, params, args)
        change = jax.tree.map(jnp.zeros_like, residuals)
    else:
        others_dot = jax.tree.map(_instantiated, others_dot, is_leaf=_is_zero)
        residuals, change = jax.jvp(lambda f, a: f(params, *a), (functions[0], args), others_dot)
    products = _products(functions[1](params, *args), params, params_dot, residuals)
    return residuals, jax.tree.map(jnp.add, change, products)


_call.defjvp(_call_jvp, symbolic_zeros=True)


def _is_zero(leaf: Any) -> bool:
    return isinstance(leaf, SymbolicZero)


def _instantiated(leaf: Array) -> Array:
    # float0 for integers.
    return np.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, SymbolicZero) else leaf


def _products(jacobian: PyTree, params: Params, params_dot: Params, residuals: PyTree) -> PyTree:
    """J times the tangents, one array for each array of the residuals."""
    values, treedef = jax.tree.flatten(residuals)
    names = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]
    ]
    leaves, dots = jax.tree.leaves(params), jax.tree.leaves(params_dot, is_leaf=_is_zero)
    columns = jax.tree.leaves(jacobian)
    if len(columns) != len(values) * len(leaves):
        raise ValueError(
            f"jac: returned {len(columns)} arrays; expected {len(values) * len(leaves)}, one "
            f"for each of {len(values)} arrays of residuals and {len(leaves)} of params, "
            "nested as jax.jacfwd nests them"
        )
    results = []
    for k, value in enumerate(values):
        total = jnp.zeros_like(value)
        for name, leaf, dot, block in zip(
            names, leaves, dots, columns[k * len(leaves) : (k + 1) * len(leaves)], strict=True
        ):
            expected = (*value.shape, *leaf.shape)
            if jnp.shape(block) != expected:
                raise ValueError(
                    f"jac: for params{name} the shape is {jnp.shape(block)}; expected "
                    f"{expected}, residuals first"
                )
            if not isinstance(dot, SymbolicZero):
                total += jnp.tensordot(
                    jnp.asarray(block, value.dtype), dot, axes=leaf.ndim, precision=HIGHEST
                )
        results.append(total)
    return jax.tree.unflatten(treedef, results)
