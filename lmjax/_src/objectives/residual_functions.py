"""What a caller may give as a residual function: one, or a list of them."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import jax

from lmjax._src.arrays.arguments import as_pytree_callable
from lmjax._src.objectives.user_jacobians import WithJacobian
from lmjax._src.typing import Params, PyTree, TreeFn

#: As a caller writes it.
ResidualFn: TypeAlias = TreeFn | list[TreeFn] | tuple[TreeFn, ...]


def as_residual_fn(residual_fn: ResidualFn, jac: TreeFn | None = None) -> TreeFn:
    """One pytree callable of (params, *args), from a function or from a list or tuple of functions.

    ``jac`` is a function of the same arguments that takes the place of the derivative in the
    params, or None.

    Raises:
        TypeError: ``residual_fn``, or one of the list, or ``jac`` is no function or has no hash.
        ValueError: the list is empty, or has a ``jac``.
    """
    if jac is not None:
        if isinstance(residual_fn, (list, tuple)):
            raise ValueError(
                "jac: it belongs to one residual function; with a list of them, return a "
                "tuple of residuals from one function"
            )
        return WithJacobian(
            as_pytree_callable(residual_fn, "residual_fn"), as_pytree_callable(jac, "jac")
        )
    if not isinstance(residual_fn, (list, tuple)):
        return as_pytree_callable(residual_fn, "residual_fn")
    if not residual_fn:
        raise ValueError("residual_fn: the list of residual functions is empty")
    return _Several(
        tuple(
            as_pytree_callable(function, f"residual_fn[{k}]")
            for k, function in enumerate(residual_fn)
        )
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Several:
    """Functions whose residuals are taken together, each called with the parameters one by one."""

    functions: tuple[TreeFn, ...]

    def __call__(self, params: Params, *args: PyTree) -> tuple[PyTree, ...]:
        """The residuals of each; ``params`` that are no list or tuple count as one parameter."""
        each = params if isinstance(params, (list, tuple)) else (params,)
        return tuple(function(*each, *args) for function in self.functions)
