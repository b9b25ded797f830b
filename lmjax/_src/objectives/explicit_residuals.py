"""Residual functions as programs whose captured arrays are leaves, among them those of a trace."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from lmjax._src.runtime import precision
from lmjax._src.runtime.user_warnings import warn
from lmjax._src.typing import Array, Params, PyTree, TreeFn


@dataclasses.dataclass(frozen=True, eq=False)
class _Traced:
    """A residual function as a program with what it captured as its first arguments."""

    jaxpr: Jaxpr
    treedef: jax.tree_util.PyTreeDef


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Explicit:
    """A residual function whose captured arrays are leaves."""

    function: TreeFn  #: the function itself, for its leaves
    captured: tuple[Array, ...]
    traced: _Traced = dataclasses.field(metadata={"static": True})

    def __call__(self, params: Params, *args: PyTree) -> PyTree:
        """The residuals."""
        run = jaxpr_as_fun(ClosedJaxpr(self.traced.jaxpr, list(self.captured)))
        return jax.tree.unflatten(
            self.traced.treedef, run(*jax.tree.leaves((params, args, self.function)))
        )


def explicit(function: TreeFn, params: Params, args: tuple[PyTree, ...]) -> TreeFn:
    """``function`` with what is being traced among what it captured as leaves; itself if nothing
    is. For while it is traced.

    Raises:
        ValueError, TypeError: the residuals are no arrays of real numbers, or empty.
    """
    leaves, treedef = jax.tree.flatten((params, args, function))

    def call(*leaves: Array) -> PyTree:
        params, args, function = jax.tree.unflatten(treedef, leaves)
        return function(params, *args)

    closed, residuals = jax.make_jaxpr(call, return_shape=True)(*leaves)
    _check(residuals)
    captured = tuple(closed.consts)
    if not precision.is_traced(captured):
        return function
    return _Explicit(function, captured, _Traced(closed.jaxpr, jax.tree.structure(residuals)))


def warn_of_traps(function: TreeFn, params: Params, args: tuple[PyTree, ...]) -> None:
    """Warns of residuals that are hardly meant: their own sum, or the table that broadcasting makes
    of two vectors.
    """
    residuals = jax.tree.leaves(jax.eval_shape(function, params, *args))
    count = sum(map(np.size, jax.tree.leaves(params)))
    if count > 1 and len(residuals) == 1 and residuals[0].shape == ():
        warn(
            f"residual_fn: returned one number for {count} parameters, of which it can determine "
            "one; squares are taken and summed here: return the residuals themselves, one for each "
            "measurement"
        )
    data = list(map(np.shape, jax.tree.leaves(args)))
    for leaf in residuals:
        length = leaf.shape[-1] if leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1] else 0
        if (length,) in data and leaf.size > sum(map(math.prod, data)):
            warn(
                f"residual_fn: returned shape {leaf.shape}, more residuals than args have numbers; "
                f"did ({length}, 1) meet ({length},)? Give both the same shape, as by .reshape(-1)"
            )


def _check(residuals: PyTree) -> None:
    for path, leaf in jax.tree_util.tree_flatten_with_path(residuals)[0]:
        name = f"residual_fn(params, *args){jax.tree_util.keystr(path)}"
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise TypeError(
                f"{name}: the residuals are complex; return their real and imaginary "
                "parts as a tuple"
            )
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"{name}: the residuals have dtype {leaf.dtype}; expected floating-point "
                "numbers that depend on params"
            )
    if sum(map(np.size, jax.tree.leaves(residuals))) == 0:
        raise ValueError("residual_fn: there are no residuals; it returned no array with elements")
