"""The forms in which an objective can hand over its Gauss-Newton matrix: as itself, as rows of J,
or as a product.

A linear solver names the :class:`Form` that it needs, and the objective builds that form only. Each
form can be multiplied with a vector and restricted to free parameters; an objective may hand over a
form of its own (say, a dual one built from a network's layers) that offers what the form's linear
solver uses.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.products import product
from lmjax._src.arrays.vectors import Vector
from lmjax._src.runtime import precision
from lmjax._src.typing import DType


class Form(enum.Enum):
    """What a linear solver needs of the Gauss-Newton matrix M = JᵀJ + diag(ridge) of P parameters
    and m residuals.

    It decides what ``linearization.curvature`` offers to the solver beside the methods of
    :class:`Curvature`:

    Attributes:
        NORMAL: ``matrix``, M itself, (P, P), and ``plus_diagonal(d)``, M + diag(d).
        JACOBIAN: ``jacobian``, J, (m, P), and ``ridge``, (P,) or None for zero.
        DUAL: ``gram(w)``, J diag(w) Jᵀ, (m, m); ``push(v)``, J v; ``pull(u, w)``, diag(w) Jᵀ u; and
            ``ridge``. J itself need not exist.
        OPERATOR: nothing else; M is never formed.

    Example:
        >>> import lmjax
        >>> lmjax.QR.form
        <Form.JACOBIAN: 'jacobian'>
        >>> [form.name for form in lmjax.extend.Form]
        ['NORMAL', 'JACOBIAN', 'DUAL', 'OPERATOR']
    """

    NORMAL = "normal"  # NormalMatrix
    JACOBIAN = "jacobian"  # JacobianRows
    DUAL = "dual"  # Dual
    OPERATOR = "operator"  # Operator

    @property
    def takes_rows(self) -> bool:
        """Whether solvers of this form have J, and take gradients in its own space."""
        return self in _OF_ROWS

    def dense_rows(self, num_residuals: int, num_params: int) -> int:
        """The rows of the largest matrix with a column for each parameter.

        Args:
            num_residuals: m.
            num_params: P.

        Returns:
            How many there are; one for a vector, where nothing is larger.
        """
        # The rows that QR factors are those of J and one for the damping of each parameter.
        return {
            Form.NORMAL: num_params,
            Form.JACOBIAN: num_residuals + num_params,
            Form.DUAL: num_residuals,
            Form.OPERATOR: 1,
        }[self]

    def factored_rows(self, num_residuals: int, num_params: int) -> int:
        """The rows of the square matrix that is factored for each damping.

        Args:
            num_residuals: m.
            num_params: P.

        Returns:
            How many there are; zero where nothing is factored.
        """
        return {
            Form.NORMAL: num_params,
            Form.JACOBIAN: num_params,
            Form.DUAL: num_residuals,
            Form.OPERATOR: 0,
        }[self]


class Curvature(Protocol):
    """The Gauss-Newton matrix M of P parameters, in whatever :class:`Form`: what every one offers.

    A linear solver gets it as ``linearization.curvature``.

    Example:
        A solver that needs products only, of gradient descent with the best step length.

        >>> import dataclasses
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> @dataclasses.dataclass(frozen=True)
        ... class SteepestDescent(lmjax.extend.LinearSolver):
        ...     form = lmjax.extend.Form.OPERATOR
        ...
        ...     def factor(self, linearization, damping, scaling):
        ...         return linearization.curvature, damping * scaling
        ...
        ...     def solve(self, factors, gradient):
        ...         curvature, shift = factors
        ...         image = curvature.product(gradient.rest) + shift * gradient.rest
        ...         slope = jnp.vdot(gradient.rest, gradient.rest)
        ...         return -slope / jnp.vdot(gradient.rest, image) * gradient.rest
        >>> solver = lmjax.LevenbergMarquardt(linear_solver=SteepestDescent())
        >>> residuals = lambda p: p - jnp.array([2.0, 3.0])
        >>> lmjax.least_squares(residuals, np.zeros(2), solver=solver).params.round(6).tolist()
        [2.0, 3.0]
    """

    def product(self, vector: Vector) -> Vector:
        """M times a vector.

        Args:
            vector: v, (P,).

        Returns:
            M v, (P,), of the vector's dtype.
        """

    def restrict(self, free: jax.Array) -> Curvature:
        """M for the free parameters alone.

        Args:
            free: booleans, (P,).

        Returns:
            M with rows and columns of zeros where ``free`` is False.
        """


class Dual(Curvature, Protocol):
    """What :class:`~lmjax.DualCholesky` uses; J itself need not exist."""

    @property
    def ridge(self) -> jax.Array | None:
        """The diagonal part of M that is not in J, None for zero."""

    def gram(self, weights: jax.Array) -> jax.Array:
        """J W Jᵀ, shape (m, m), for a diagonal W; in double where it squares the singular values of
        a J in single precision.
        """

    def push(self, vector: Vector) -> jax.Array:
        """J v, shape (m,)."""

    def pull(self, covector: jax.Array, weights: jax.Array | None = None) -> Vector:
        """W Jᵀ u, for u (m,) and a diagonal W, the identity if None."""


class NormalMatrix(NamedTuple):
    """The matrix M, shape (P, P); and J (m, P) beside it where it is so small that keeping it costs
    nothing.

    M may be in double precision though all else is in single: it squares J's singular values. Its
    products come in the vector's.
    """

    matrix: jax.Array
    jacobian: jax.Array | None = None

    def product(self, vector: jax.Array) -> jax.Array:
        """See :class:`Curvature`."""
        with precision.kept(self.matrix.dtype):
            return product(self.matrix, vector.astype(self.matrix.dtype)).astype(vector.dtype)

    @property
    def dtype(self) -> DType:
        """In which squares of J's singular values are kept."""
        return self.matrix.dtype

    @property
    def diagonal(self) -> jax.Array:
        """diag(M), (P,)."""
        with precision.kept(self.matrix.dtype):
            return jnp.diagonal(self.matrix)

    def plus_diagonal(self, diagonal: jax.Array) -> jax.Array:
        """M + diag(``diagonal``)."""
        with precision.kept(self.matrix.dtype):
            return self.matrix + jnp.diag(diagonal.astype(self.matrix.dtype))

    def restrict(self, free: jax.Array) -> NormalMatrix:
        """See :class:`Curvature`."""
        with precision.kept(self.matrix.dtype):
            return self._replace(matrix=jnp.where(free[:, None] & free[None, :], self.matrix, 0))


class JacobianRows(NamedTuple):
    """The matrix J, shape (m, P), with a diagonal ``ridge`` (P,) beside JᵀJ; serves as a
    :class:`Dual` too.

    ``in_double`` says whether J W Jᵀ is summed in double.
    """

    jacobian: jax.Array
    ridge: jax.Array | None = None
    in_double: bool = False

    @property
    def dtype(self) -> DType:
        """In which squares of J's singular values are kept."""
        return np.dtype(np.float64) if self.in_double else self.jacobian.dtype

    def product(self, vector: jax.Array) -> jax.Array:
        """See :class:`Curvature`."""
        product = self.pull(self.push(vector))
        return product if self.ridge is None else product + self.ridge * vector

    def restrict(self, free: jax.Array) -> JacobianRows:
        """See :class:`Curvature`."""
        ridge = None if self.ridge is None else jnp.where(free, self.ridge, 0)
        return self._replace(jacobian=jnp.where(free, self.jacobian, 0), ridge=ridge)

    def gram(self, weights: jax.Array) -> jax.Array:
        """See :class:`Dual`."""
        with precision.kept(self.dtype):
            rows = self.jacobian.astype(self.dtype)
            return product(rows * weights.astype(self.dtype), rows.T)

    def push(self, vector: jax.Array) -> jax.Array:
        """See :class:`Dual`."""
        return product(self.jacobian, vector)

    def pull(self, covector: jax.Array, weights: jax.Array | None = None) -> jax.Array:
        """See :class:`Dual`."""
        pulled = product(covector, self.jacobian)
        return pulled if weights is None else weights * pulled


#: What the forms that have J are made of.
_OF_ROWS: dict[Form, Callable[[jax.Array, jax.Array | None, bool], Any]] = {
    Form.JACOBIAN: JacobianRows,
    Form.DUAL: JacobianRows,
}


def of_rows(
    form: Form, jacobian: jax.Array, ridge: jax.Array | None = None, in_double: bool = False
) -> Any:
    """The :class:`Curvature` of a form that has J, from J; the arguments are those of
    :class:`JacobianRows`.
    """
    return _OF_ROWS[form](jacobian, ridge, in_double)


class Operator(NamedTuple):
    """The product v -> M v as a function; no matrix of P columns is ever stored."""

    function: Callable[[jax.Array], jax.Array]
    free: jax.Array | None = None

    def product(self, vector: jax.Array) -> jax.Array:
        """See :class:`Curvature`."""
        if self.free is None:
            return self.function(vector)
        return jnp.where(self.free, self.function(jnp.where(self.free, vector, 0)), 0)

    def restrict(self, free: jax.Array) -> Operator:
        """See :class:`Curvature`."""
        return Operator(self.function, free)
