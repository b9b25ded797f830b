"""Simple bounds on parameters, by projection."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.mismatch import mismatch
from lmjax._src.arrays.structure import Structure
from lmjax._src.arrays.vectors import Vector
from lmjax._src.runtime import precision
from lmjax._src.runtime.user_warnings import warn
from lmjax._src.typing import Array, DType, NumpyArray, Params, PyTree


class FeasibleSet(Protocol):
    """Where parameters may lie, for ``lmjax.fit(bounds=...)``.

    A pytree, whose arrays are data of the compiled step; its methods are pure and traced, and see
    all parameters as one vector (P,).

    Example:
        A ball.

        >>> import dataclasses
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> @jax.tree_util.register_dataclass
        ... @dataclasses.dataclass(frozen=True)
        ... class Ball(lmjax.extend.FeasibleSet):
        ...     radius: jax.Array
        ...
        ...     def project(self, params):
        ...         return params * jnp.minimum(1, self.radius / jnp.linalg.norm(params))
        ...
        ...     def free(self, params, gradient):
        ...         return jnp.ones(params.shape, bool)
        >>> x, y = np.eye(2), np.array([[3.0], [4.0]])
        >>> ball = Ball(np.float64(1))
        >>> model = lambda p, x: x @ p
        >>> fit = lmjax.fit(model, np.zeros((2, 1)), x, y, bounds=ball, epochs=20, verbose=0)
        >>> fit.params.round(3).tolist()
        [[0.6], [0.8]]
    """

    @abstractmethod
    def project(self, params: jax.Array) -> jax.Array:
        """A point of the set near ``params``.

        Args:
            params: any point, (P,).

        Returns:
            A point of the set, (P,), of the same dtype; ``params`` itself if it lies in the set.
        """

    @abstractmethod
    def free(self, params: jax.Array, gradient: jax.Array) -> jax.Array:
        """Which parameters a step may move.

        Args:
            params: a point of the set, (P,).
            gradient: that of the cost there, (P,).

        Returns:
            Booleans, (P,); parameters where it is False stay as they are in this step.
        """

    def beyond(self, params: jax.Array) -> jax.Array | None:
        """Which parameters lie beyond limits of their own, where these limits are all that the set
        is: a step that hits some of them is solved for again without those.

        Args:
            params: any point, (P,).

        Returns:
            Booleans, (P,). None, as here, for all other sets, onto which the end of a step is
            projected.
        """
        return None

    @property
    def known(self) -> jax.Array | None:
        """Which parameters have only one value within the set, shape (P,); None, as here, for
        none.
        """
        return None


class Bounds(NamedTuple):
    """Lower and upper bounds of shape (P,), infinite where there is none.

    Parameters at a bound whose gradient points outwards are held there for a step; the trial point
    of the others is projected. Source: C. Kanzow, N. Yamashita, M. Fukushima, "Levenberg-Marquardt
    methods with strong local convergence properties for solving nonlinear equations with convex
    constraints", J. Comput. Appl. Math. 172, 2004.
    """

    lower: jax.Array
    upper: jax.Array

    def project(self, params: jax.Array) -> jax.Array:
        """The nearest point within the bounds."""
        return jnp.clip(params, self.lower, self.upper)

    def free(self, params: jax.Array, gradient: jax.Array) -> jax.Array:
        """Which parameters may move, shape (P,): all but those at a bound that the descent
        direction leaves, and the known ones.
        """
        return ~(
            ((params <= self.lower) & (gradient > 0))
            | ((params >= self.upper) & (gradient < 0))
            | self.known
        )

    def beyond(self, params: jax.Array) -> jax.Array:
        """See :class:`FeasibleSet`: those below the lower or above the upper bound."""
        return (params < self.lower) | (params > self.upper)

    @property
    def known(self) -> jax.Array:
        """Which parameters have only one value within the bounds, shape (P,)."""
        return self.lower >= self.upper


def bounds_for(params: Params, bounds: tuple[PyTree, PyTree], dtype: DType) -> Bounds:
    """The bounds of ``params`` as vectors, from (lower, upper), each None, a number, or a pytree
    that params extends.

    Raises:
        ValueError: ``bounds`` is no pair, does not fit ``params``, or a lower bound lies above its
            upper one.
    """
    try:
        if len(bounds) != 2:
            raise ValueError(
                f"{len(bounds)} were given: first all lower bounds, then all upper ones"
            )
        lower, upper = bounds
        vectors = Bounds(
            _spread(params, lower, -np.inf, dtype), _spread(params, upper, np.inf, dtype)
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            "bounds: expected (lower, upper), each None, a number or a pytree shaped "
            f"like params; {error}"
        ) from error
    if not precision.is_traced(vectors):
        crossed = np.flatnonzero(~(vectors.lower <= vectors.upper))
        if crossed.size:
            k = int(crossed[0])
            raise ValueError(
                f"bounds: {_named(params, crossed)}: lower {vectors.lower[k]:g} is not at "
                f"most upper {vectors.upper[k]:g}"
            )
    return vectors


def fixed_mask(params: Params, fixed: PyTree) -> Array:
    """Which of the flattened params are fixed, shape (P,), from a boolean, or a tree of booleans
    that params extends.

    Raises:
        ValueError: ``fixed`` does not fit ``params``, or leaves nothing to fit.
    """
    try:
        if not all(
            leaf is None or np.asarray(leaf).dtype == bool
            for leaf in jax.tree.leaves(fixed)
            if not precision.is_traced(leaf)
        ):
            raise ValueError("some leaves are not boolean")
        mask = _spread(
            params,
            None if fixed is None else np.asarray(fixed) if isinstance(fixed, bool) else fixed,
            False,
            np.dtype(bool),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            "fixed: expected True for each fixed parameter, False for the others, shaped "
            f"like params; {error}"
        ) from error
    if not precision.is_traced(mask) and mask.all():
        raise ValueError("fixed: all parameters are fixed; there is nothing to fit")
    return mask


def held(bounds: Bounds | None, fixed: PyTree, flat: Vector) -> Bounds:
    """``bounds`` with both at the start ``flat`` (P,) for parameters that are ``fixed`` (P,)."""
    library = jnp if precision.is_traced((bounds, fixed, flat)) else np
    lower, upper = (-library.inf, library.inf) if bounds is None else bounds
    return Bounds(*(library.where(fixed, flat, end).astype(flat.dtype) for end in (lower, upper)))


def start_within(bounds: Bounds, params: Params, flat: Vector) -> Vector:
    """The start, ``params`` as the vector ``flat``, moved to the nearest bound where it lies
    outside, which is said in a warning.
    """
    inside = np.clip(flat, bounds.lower, bounds.upper)
    outside = np.flatnonzero(inside != flat)
    if outside.size:
        warn(
            f"{_named(params, outside)}: {outside.size} start value(s) lie outside their "
            "bounds and were moved to the nearest bound"
        )
    return inside


def _named(params: Params, indices: NumpyArray, most: int = 3) -> str:
    """The first few of the parameters of those ``indices``."""
    names = [Structure.of(params).name(int(k)) for k in indices[:most]]
    return ", ".join(names) + (" and others" if len(indices) > most else "")


def _spread(params: Params, bound: PyTree, default: float, dtype: DType) -> Array:
    """``bound`` as a vector of shape (P,): one number for all, or one tree whose leaves are
    broadcast against params'.
    """
    leaves = jax.tree.leaves(params)
    if bound is None or (np.ndim(bound) == 0 and isinstance(bound, (int, float, np.number))):
        bounds_of_leaves = [default if bound is None else bound] * len(leaves)
    else:
        if jax.tree_util.all_leaves([params]) and isinstance(bound, (list, tuple)):
            bound = np.asarray(bound, dtype)  # a list of numbers for an array of parameters
        try:
            whole = jax.tree.broadcast(bound, params, is_leaf=lambda leaf: leaf is None)
        except ValueError as error:
            raise ValueError(mismatch(params, bound) or f"{error}") from None
        bounds_of_leaves = [
            default if leaf is None else leaf
            for leaf in jax.tree.leaves(whole, is_leaf=lambda leaf: leaf is None)
        ]
    traced = precision.is_traced(bounds_of_leaves)
    library, dtype = (jnp, precision.in_present_mode(dtype)) if traced else (np, dtype)
    spread = []
    for k, (leaf, given) in enumerate(zip(leaves, bounds_of_leaves, strict=True)):
        try:
            spread.append(
                library.broadcast_to(library.asarray(given, dtype), np.shape(leaf)).reshape(-1)
            )
        except (TypeError, ValueError):
            path = jax.tree_util.keystr(jax.tree_util.tree_flatten_with_path(params)[0][k][0])
            what = f"shape {np.shape(given)}" if np.ndim(given) else repr(given)
            raise ValueError(
                f"params{path} has shape {np.shape(leaf)}, and was given {what}"
            ) from None
    return library.concatenate(spread)
