"""Losses that are made of a function: of residuals, or of a convex loss itself."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.lapack import eigh, qr
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.offset import Offset
from lmjax._src.typing import PyTree, Shape

#: A curvature below this fraction of the largest, or of that of a square with the same slope, is
#: lifted to it, so that residuals exist: √ε.
_FLOOR_POWER = 0.5


@dataclasses.dataclass(frozen=True)
class _OfFunction(Loss):
    function: Callable[[Any, Any], Any]
    class_indices: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def takes_quantities(self) -> bool:
        """Whether targets are no class indices."""
        return not self.class_indices

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs, or without the last axis."""
        return outputs_shape[:-1] if self.class_indices else outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """The function decides."""


@dataclasses.dataclass(frozen=True)
class Residuals(_OfFunction):
    """The mean of the squares of a function's results: a loss of any residuals.

    Where the function is ``lambda targets, outputs: outputs - targets``, it is the mean squared
    error. The curvature is Gauss and Newton's, of the function's derivative by JAX.

    Args:
        function: a pure function of (targets, outputs) of one sample, without the batch axis, to
            an array of residuals of any shape. A fit compiles anew for each new function.
        class_indices: whether targets are class indices, of the outputs' shape without the last
            axis; of the outputs' shape by default.

    Attributes:
        function: as given.
        class_indices: as given.

    Example:
        Errors that count relative to the target.

        >>> import numpy as np
        >>> import lmjax
        >>> loss = lmjax.losses.Residuals(lambda targets, outputs: outputs / targets - 1)
        >>> x, y = np.ones((3, 1)), np.array([1.0, 2.0, 4.0])
        >>> result = lmjax.fit(lambda p, x: p * x, np.ones(1), x, y, loss=loss, verbose=0)
        >>> result.params.round(4).tolist()
        [1.3333]
    """

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return jnp.mean(jnp.square(self.function(targets, outputs)))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """√(2/m) times the transposed derivative of m residuals; of R of its QR where m is above
        the number of outputs.
        """
        jacobian, _ = self._square(outputs, targets)
        return (vector.ravel() @ jacobian).reshape(outputs.shape)

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """√(2/m) times the residuals, filled up with zeros or in the space of the derivative."""
        return self._square(outputs, targets)[1].reshape(outputs.shape)

    def _square(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A derivative (O, O) and residuals (O,) of the same squares and gradient."""

        def flat(z: jax.Array) -> tuple[jax.Array, jax.Array]:
            found = jnp.ravel(self.function(targets, z.reshape(outputs.shape)))
            found = found * (2 / found.size) ** 0.5
            return found, found

        jacobian, residuals = jax.jacfwd(flat, has_aux=True)(outputs.ravel())
        missing = outputs.size - residuals.size
        if missing >= 0:
            return jnp.pad(jacobian, ((0, missing), (0, 0))), jnp.pad(residuals, (0, missing))
        q, r = qr(jacobian)
        return r, residuals @ q


@dataclasses.dataclass(frozen=True)
class Convex(Offset, _OfFunction):
    """A function that is the loss of one sample itself, convex in the outputs.

    The curvature is its Hessian in the outputs, by JAX; eigenvalues that are negative, or vanish
    beside the gradient, are lifted to a small positive one. Before a fit of data in memory, it is
    looked at on the data: a UserWarning says where it is not convex.

    Args:
        function: a pure function of (targets, outputs) of one sample, without the batch axis, to a
            number. A fit compiles anew for each new function.
        least: a number that the loss is never below. Convergence is judged by what it is above it.
        class_indices: whether targets are class indices, of the outputs' shape without the last
            axis; of the outputs' shape by default.

    Attributes:
        function: as given.
        least: as given.
        class_indices: as given.

    Source: N. N. Schraudolph, "Fast curvature matrix-vector products", Neural Computation 14, 2002.

    Example:
        Fourth powers.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> loss = lmjax.losses.Convex(lambda targets, outputs: jnp.sum((outputs - targets) ** 4))
        >>> x, y = np.ones((3, 1)), np.array([1.0, 2.0, 3.0])
        >>> result = lmjax.fit(lambda p, x: p * x, np.ones(1), x, y, loss=loss, verbose=0)
        >>> result.params.round(4).tolist()
        [2.0]
    """

    least: float = 0.0

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return jnp.asarray(self.function(targets, outputs)).reshape(()) - self.least

    def offset(self, targets: jax.Array) -> jax.Array:
        """``least``."""
        return jnp.asarray(self.least)

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """The symmetric root of the Hessian times the vector."""
        roots, basis, _ = self._spectrum(outputs, targets)
        return (basis @ (roots * (vector.ravel() @ basis))).reshape(outputs.shape)

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The inverse of that root times the gradient."""
        roots, basis, gradient = self._spectrum(outputs, targets)
        return (basis @ ((gradient @ basis) / roots)).reshape(outputs.shape)

    def examine(self, outputs: jax.Array, targets: jax.Array) -> None:
        """Warns where the loss is negative or not convex.

        Args:
            outputs: those of some rows at the start of a fit.
            targets: theirs.
        """

        def lowest(z: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
            curvatures = eigh(self._hessian(z, y))[0]
            return self.value(z, y), curvatures[0] / jnp.maximum(jnp.max(jnp.abs(curvatures)), 1)

        values, curvatures = map(np.asarray, jax.jit(jax.vmap(lowest))(outputs, targets))
        epsilon = float(np.finfo(curvatures.dtype).eps)
        concave = int(np.sum(curvatures < -outputs[0].size * 8 * epsilon))
        if concave:
            warnings.warn(
                f"loss: {_name(self.function)} is not convex in the outputs at {concave} of "
                f"{len(curvatures)} rows that were looked at; its curvature is taken for almost 0 "
                "where it is negative, so that steps may be many. lmjax.losses.Residuals or a "
                "lmjax.extend.Loss can do better",
                stacklevel=2,
            )
        if (values < 0).any():
            warnings.warn(
                f"loss: {_name(self.function)} is {float(values.min()) + self.least:g} at a row, "
                f"less than least={self.least:g}; give lmjax.losses.Convex(function, least=...) a "
                "number that it is never below",
                stacklevel=2,
            )

    def _hessian(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return jax.hessian(lambda z: self.value(z.reshape(outputs.shape), targets))(outputs.ravel())

    def _spectrum(
        self, outputs: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Roots of the lifted eigenvalues, eigenvectors as columns, and the gradient (O,)."""
        curvatures, basis = eigh(self._hessian(outputs, targets))
        value, gradient = jax.value_and_grad(self.value)(outputs, targets)
        gradient, limits = gradient.ravel(), jnp.finfo(outputs.dtype)
        # Of a square of this value and slope.
        of_square = jnp.vdot(gradient, gradient) / jnp.maximum(2 * value, float(limits.eps))
        floor = float(limits.eps) ** _FLOOR_POWER * jnp.maximum(curvatures[-1], of_square)
        floor = jnp.maximum(floor, float(limits.tiny) ** 0.5)
        return jnp.sqrt(jnp.maximum(curvatures, floor)), basis, gradient


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)
