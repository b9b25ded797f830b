"""Robust losses: costs that grow slower than the square of a residual, so that outliers pull less.

The cost is ½ Σ C² ρ((r/C)²) with C the ``scale``, the residual at which the loss leaves the square;
ρ(z) ≈ z for small z. Names, ρ and scale are those of ``scipy.optimize.least_squares`` (its
``f_scale``), which has all but Tukey's.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.runtime import contracts
from lmjax._src.typing import DType, Scalar

_Loss = TypeVar("_Loss", bound=Any)


class RobustLoss(Protocol):
    """How fast the cost of a residual grows; implementations are frozen pytrees whose only leaf is
    the scale.

    :func:`~lmjax.extend.robust_loss` makes a dataclass one.

    Attributes:
        scale: the residual C at which the loss leaves the square, a positive number.

    Example:
        Geman's and McClure's.

        >>> import dataclasses
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> @lmjax.extend.robust_loss
        ... @dataclasses.dataclass(frozen=True)
        ... class GemanMcClure(lmjax.extend.RobustLoss):
        ...     scale: float = 1.0
        ...
        ...     def terms(self, z):
        ...         return z / (1 + z), 1 / (1 + z) ** 2, (1 - 3 * z) / (1 + z) ** 3
        >>> values = np.array([1.9, 2.0, 2.1, 50.0])
        >>> loss = GemanMcClure(0.5)
        >>> lmjax.least_squares(lambda p: p - values, 2.5, loss=loss).params.round(2)
        np.float64(2.0)
    """

    scale: Scalar

    @abstractmethod
    def terms(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """ρ and its derivatives. Pure and traced.

        Args:
            z: (r/C)² of the m residuals, (m,).

        Returns:
            (ρ, ρ', ρ' + 2zρ''), each (m,) and of z's dtype; the last is the second derivative of
            ½C²ρ in r.
        """


def robust_loss(loss: type[_Loss]) -> type[_Loss]:
    """Class decorator of a robust loss: makes it a pytree whose leaf is its ``scale``, the only
    argument that the class takes.

    Not as ``register_dataclass``: structures of two of its classes whose fields have the same names
    compare equal (JAX 0.10), so that ``jit`` may run the program of one loss for another.

    Args:
        loss: the class, as :class:`RobustLoss` describes it.

    Returns:
        The same class.

    Example:
        The fair loss, ρ = 2 (√z - ln(1 + √z)).

        >>> import dataclasses
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> @lmjax.extend.robust_loss
        ... @dataclasses.dataclass(frozen=True)
        ... class Fair(lmjax.extend.RobustLoss):
        ...     scale: float = 1.0
        ...
        ...     def terms(self, z):
        ...         root = jnp.sqrt(z)
        ...         return 2 * (root - jnp.log1p(root)), 1 / (1 + root), 1 / (1 + root) ** 2
        >>> jax.tree.leaves(Fair(0.5))
        [0.5]
    """
    jax.tree_util.register_pytree_node(
        loss, lambda instance: ((instance.scale,), None), lambda _, leaves: loss(*leaves)
    )
    return loss


@robust_loss
@dataclasses.dataclass(frozen=True)
class Huber(RobustLoss):
    """ρ(z) = z up to 1, then 2√z - 1: squares in the middle, absolute values beyond.

    Attributes:
        scale: the residual C at which the loss leaves the square, a positive number in units of the
            (weighted) residuals, as SciPy's ``f_scale``.

    Source: P. J. Huber, Ann. Math. Stat. 35, 1964.

    Example:
        A mean with an outlier.

        >>> import numpy as np
        >>> import lmjax
        >>> values = np.array([1.9, 2.0, 2.1, 50.0])
        >>> solution = lmjax.least_squares(lambda p: p - values, 2.5, loss=lmjax.Huber(0.5))
        >>> round(float(solution.params), 2)
        2.17
    """

    scale: Scalar = 1.0

    def terms(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See :class:`RobustLoss`."""
        inside = z <= 1
        root = jnp.sqrt(jnp.where(inside, 1, z))
        return jnp.where(inside, z, 2 * root - 1), 1 / root, jnp.where(inside, jnp.ones_like(z), 0)


@robust_loss
@dataclasses.dataclass(frozen=True)
class SoftL1(RobustLoss):
    """ρ(z) = 2(√(1 + z) - 1): a smooth Huber loss.

    Attributes:
        scale: the residual C at which the loss leaves the square, a positive number in units of the
            (weighted) residuals, as SciPy's ``f_scale``.

    Source: B. Triggs et al., "Bundle adjustment: a modern synthesis", 2000.

    Example:
        A mean with an outlier.

        >>> import numpy as np
        >>> import lmjax
        >>> values = np.array([1.9, 2.0, 2.1, 50.0])
        >>> solution = lmjax.least_squares(lambda p: p - values, 2.5, loss=lmjax.SoftL1(0.5))
        >>> round(float(solution.params), 2)
        2.18
    """

    scale: Scalar = 1.0

    def terms(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See :class:`RobustLoss`."""
        root = jnp.sqrt(1 + z)
        return 2 * z / (root + 1), 1 / root, 1 / root**3


@robust_loss
@dataclasses.dataclass(frozen=True)
class Cauchy(RobustLoss):
    """ρ(z) = ln(1 + z): the likelihood of Cauchy's distribution; far outliers hardly count.

    Attributes:
        scale: the residual C at which the loss leaves the square, a positive number in units of the
            (weighted) residuals, as SciPy's ``f_scale``.

    Source: B. Triggs et al., "Bundle adjustment: a modern synthesis", 2000, section 4.

    Example:
        A mean with an outlier.

        >>> import numpy as np
        >>> import lmjax
        >>> values = np.array([1.9, 2.0, 2.1, 50.0])
        >>> solution = lmjax.least_squares(lambda p: p - values, 2.5, loss=lmjax.Cauchy(0.5))
        >>> round(float(solution.params), 2)
        2.0
    """

    scale: Scalar = 1.0

    def terms(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See :class:`RobustLoss`."""
        slope = 1 / (1 + z)
        return jnp.log1p(z), slope, (1 - z) * slope**2


@robust_loss
@dataclasses.dataclass(frozen=True)
class Tukey(RobustLoss):
    """ρ(z) = (1 - (1 - z)³)/3 up to 1, then 1/3: residuals beyond the scale do not count at all.

    The cost has many minima: start near, or from a Huber fit.

    Attributes:
        scale: the residual C at which the loss leaves the square, a positive number in units of the
            (weighted) residuals.

    Source: A. E. Beaton, J. W. Tukey, Technometrics 16, 1974.

    Example:
        A mean with an outlier.

        >>> import numpy as np
        >>> import lmjax
        >>> values = np.array([1.9, 2.0, 2.1, 50.0])
        >>> solution = lmjax.least_squares(lambda p: p - values, 2.5, loss=lmjax.Tukey(2.0))
        >>> round(float(solution.params), 2)
        2.0
    """

    scale: Scalar = 1.0

    def terms(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See :class:`RobustLoss`."""
        left = jnp.where(z < 1, 1 - z, 0)
        return (
            (z - z * z + z**3 / 3) * (z < 1) + jnp.where(z < 1, 0, 1 / 3),
            left**2,
            left * (1 - 5 * jnp.where(z < 1, z, 1)),
        )


ROBUST_LOSSES: dict[str, type[Huber] | type[SoftL1] | type[Cauchy] | type[Tukey]] = {
    "huber": Huber,
    "soft_l1": SoftL1,
    "cauchy": Cauchy,
    "tukey": Tukey,
}

#: The smallest curvature of a residual, as a fraction of ρ'. Triggs' correction itself, with ρ' +
#: 2zρ'', is zero or negative for outliers; Ceres Solver's corrector falls back to ρ' there. Decays
#: with 3 or 12 outliers in 60 points, 16 data sets and four losses: with 0 a mean of 103
#: evaluations and up to 1916, with 0.1 47 and 62, with 1 72 and 2012.
CURVATURE_FLOOR = 0.1


class Correction(NamedTuple):
    """What turns residuals r and their Jacobian J into those of the Gauss-Newton model of a robust
    cost.
    """

    residuals: jax.Array  #: ρ'r/√k, shape (m,)
    root: jax.Array  #: √k, which multiplies the rows of J, shape (m,)


def corrected(loss: RobustLoss, residuals: jax.Array, floor: float = CURVATURE_FLOOR) -> Correction:
    """Triggs' correction with the curvature k = max(ρ' + 2zρ'', ``floor`` · ρ', ε): √k J and ρ'r/√k
    have the cost's gradient.

    Source: B. Triggs et al., "Bundle adjustment: a modern synthesis", 2000, section 4.3; clamped as
    in Ceres Solver, whose floor is one (reweighting), and SciPy, whose floor is zero.
    """
    z = jnp.square(residuals / loss.scale)
    _, slope, curvature = loss.terms(z)
    root = jnp.sqrt(
        jnp.maximum(jnp.maximum(curvature, floor * slope), jnp.finfo(residuals.dtype).eps)
    )
    counts = slope > 0  # else the residual lies on a plateau, and its row of J is zero
    return Correction(jnp.where(counts, slope * residuals / root, 0), jnp.where(counts, root, 0))


def robust_cost(loss: RobustLoss, residuals: jax.Array) -> jax.Array:
    """½ C² ρ((r/C)²) of each residual, shape (m,)."""
    return 0.5 * jnp.square(loss.scale) * loss.terms(jnp.square(residuals / loss.scale))[0]


def find_robust_loss(loss: Any, dtype: DType) -> RobustLoss | None:
    """The loss of that name, or ``loss`` itself, its scale an array of ``dtype``; None for squares
    ("linear").

    Raises:
        ValueError: there is no such loss, it lacks something of :class:`RobustLoss`, or its scale
            is not positive.
    """
    if loss is None or (isinstance(loss, str) and loss == "linear"):
        return None
    if isinstance(loss, str) and loss in ROBUST_LOSSES:
        loss = ROBUST_LOSSES[loss]()
    if isinstance(loss, str):
        raise ValueError(
            f"loss: expected 'linear', {', '.join(map(repr, ROBUST_LOSSES))} or an object "
            f"such as lmjax.Huber(1.5), got {loss!r}"
        )
    contracts.check(loss, RobustLoss, "loss", hashed=False)
    contracts.check_pytree(loss, "loss", "decorate its class with @lmjax.extend.robust_loss")
    scale: Scalar = loss.scale
    if isinstance(scale, jax.core.Tracer):
        return loss
    if np.ndim(scale) or not np.isfinite(scale) or scale <= 0:
        raise ValueError(f"loss: the scale must be one positive number, got {scale!r}")
    scaled: RobustLoss = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), loss)
    return scaled
