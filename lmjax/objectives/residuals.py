"""½‖r(params)‖² of a general residual function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lmjax.flattening import Structure
from lmjax.linearization import Linearization
from lmjax.objectives.products import gram


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ResidualObjective:
    """The sum of squares of ``residual_fn(params, *args)``, an array or a pytree of arrays.

    ``args`` and the leaves of ``residual_fn`` (a pytree callable) are data of the compiled step: a new data set of the
    same shape compiles nothing.
    """

    args: tuple[Any, ...]
    residual_fn: Callable[..., Any]
    structure: Structure = dataclasses.field(metadata={"static": True})
    jacobian: Literal["auto", "forward", "reverse"] = dataclasses.field(default="auto", metadata={"static": True})

    def check(self, params: jax.Array) -> None:
        """Raises ValueError or TypeError, while tracing, for residuals that are no array of real numbers, or empty."""
        residuals = jax.eval_shape(lambda p: self.residual_fn(self.structure.unflatten(p), *self.args), params)
        for path, leaf in jax.tree_util.tree_flatten_with_path(residuals)[0]:
            name = f"residual_fn(params, *args){jax.tree_util.keystr(path)}"
            if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
                raise TypeError(f"{name}: the residuals are complex; return their real and imaginary parts as a tuple")
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(f"{name}: the residuals have dtype {leaf.dtype}; expected floating-point numbers that depend on params")
        if sum(leaf.size for leaf in jax.tree.leaves(residuals)) == 0:
            raise ValueError("residual_fn: there are no residuals; it returned no array with elements")

    def evaluate(self, params: jax.Array) -> jax.Array:
        """The residuals as one vector of shape (m,), in the dtype of ``params``."""
        residuals = self.residual_fn(self.structure.unflatten(params), *self.args)
        leaves = [jnp.ravel(leaf).astype(params.dtype) for leaf in jax.tree.leaves(residuals)]
        return leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves)

    def cost(self, values: jax.Array) -> jax.Array:
        """½‖r‖²."""
        return 0.5 * jnp.vdot(values, values, precision=jax.lax.Precision.HIGHEST)

    def reduction(self, before: jax.Array, after: jax.Array) -> jax.Array:
        """½ Σ (r - r')(r + r')."""
        return 0.5 * jnp.vdot(before - after, before + after, precision=jax.lax.Precision.HIGHEST)

    def residuals_and_jacobian(self, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """r of shape (m,) and J of shape (m, P), by forward mode unless there are fewer residuals than parameters."""

        def evaluate_twice(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
            residuals = self.evaluate(vector)
            return residuals, residuals

        forward = self.jacobian == "forward" or (self.jacobian == "auto" and self._num_residuals(params) >= params.size)
        transform = jax.jacfwd if forward else jax.jacrev
        jacobian, residuals = transform(evaluate_twice, has_aux=True)(params)
        return residuals, jacobian

    def linearize(self, params: jax.Array) -> Linearization:
        """See :class:`~lmjax.linearization.Objective`."""
        residuals, jacobian = self.residuals_and_jacobian(params)
        return Linearization(
            values=residuals,
            cost=self.cost(residuals),
            gradient=jnp.matmul(residuals, jacobian, precision=jax.lax.Precision.HIGHEST),
            gauss_newton_matrix=gram(jacobian),
        )

    def curvature_gradient(self, params: jax.Array, velocity: jax.Array) -> jax.Array:
        """See :class:`~lmjax.linearization.Objective`; two nested ``jvp`` and one ``vjp``, no second derivatives stored."""
        _, pull = jax.vjp(self.evaluate, params)
        _, second = jax.jvp(lambda q: jax.jvp(self.evaluate, (q,), (velocity,))[1], (params,), (velocity,))
        return pull(second)[0]

    def _num_residuals(self, params: jax.Array) -> int:
        return jax.eval_shape(self.evaluate, params).size
