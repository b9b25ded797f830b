"""Sums, means, orders and quantiles along axes, of all numbers and of those that are not NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special
from jax.typing import DTypeLike

from bridge._src.operations.table import as_float, axes_of, dtype_of, function
from bridge._src.typing import Axis
from lmjax._src.typing import ArrayLike

#: Reductions with the options that all of them have.
REDUCTIONS: dict[str, Callable[..., jax.Array]] = {
    "numpy.All": jnp.all,
    "numpy.Amax": jnp.max,
    "numpy.Amin": jnp.min,
    "numpy.Any": jnp.any,
    "numpy.Mean": jnp.mean,
    "numpy.Median": jnp.median,
    "numpy.Nanmax": jnp.nanmax,
    "numpy.Nanmean": jnp.nanmean,
    "numpy.Nanmedian": jnp.nanmedian,
    "numpy.Nanmin": jnp.nanmin,
    "numpy.Nanprod": jnp.nanprod,
    "numpy.Nanstd": jnp.nanstd,
    "numpy.Nansum": jnp.nansum,
    "numpy.Nanvar": jnp.nanvar,
    "numpy.Ptp": jnp.ptp,
    "numpy.Std": jnp.std,
    "numpy.Sum": jnp.sum,
    "numpy.Var": jnp.var,
    "math.Logsumexp": special.logsumexp,
}


def _entered(name: str, reduction: Callable[..., jax.Array]) -> None:
    @function(name)
    def reduced(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> jax.Array:
        return reduction(jnp.asarray(x), axis=axes_of(axis), keepdims=keepdims)


for _name, _reduction in REDUCTIONS.items():
    _entered(_name, _reduction)


@function("numpy.Max")
def maximum(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False, initial: ArrayLike = None
) -> jax.Array:
    """The largest number, at least ``initial``."""
    return jnp.max(jnp.asarray(x), axis=axes_of(axis), keepdims=keepdims, initial=initial)


@function("numpy.Min")
def minimum(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False, initial: ArrayLike = None
) -> jax.Array:
    """The least number, at most ``initial``."""
    return jnp.min(jnp.asarray(x), axis=axes_of(axis), keepdims=keepdims, initial=initial)


@function("numpy.Prod")
def prod(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False, dtype: DTypeLike | None = None
) -> jax.Array:
    """The product."""
    x = jnp.asarray(x)
    return jnp.prod(
        x if dtype is None else x.astype(dtype_of(dtype, x)), axis=axes_of(axis), keepdims=keepdims
    )


def _cumulative(name: str, cumulated: Callable[..., jax.Array]) -> None:
    @function(name)
    def along(x: jax.Array, axis: Axis = None, dtype: DTypeLike | None = None) -> jax.Array:
        return cumulated(x if dtype is None else x.astype(dtype_of(dtype, x)), axis=axis)


_cumulative("numpy.Cumsum", jnp.cumsum)
_cumulative("numpy.Cumprod", jnp.cumprod)
_cumulative("numpy.Nancumsum", jnp.nancumsum)
_cumulative("numpy.Nancumprod", jnp.nancumprod)


@function("numpy.Average")
def average(x: ArrayLike, weights: ArrayLike = None, axis: Axis = None) -> jax.Array:
    """The mean, weighted if weights are given."""
    return jnp.average(as_float(x), axis=axes_of(axis), weights=weights)


@function("numpy.CountNonzero")
def count_nonzero(x: ArrayLike, axis: Axis = None) -> jax.Array:
    """How many are not 0."""
    return jnp.sum(jnp.asarray(x) != 0, axis=axes_of(axis), dtype=jnp.int32)


def _arg(name: str, found: Callable[..., jax.Array]) -> None:
    @function(name)
    def position(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> jax.Array:
        return found(x, axis=axis, keepdims=keepdims).astype(jnp.int32)


_arg("numpy.Argmax", jnp.argmax)
_arg("numpy.Argmin", jnp.argmin)


def _nanarg(name: str, found: Callable[..., jax.Array], worst: float) -> None:
    @function(name)
    def position(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> jax.Array:
        nan = jnp.isnan(x)
        at = found(jnp.where(nan, worst, x), axis=axis, keepdims=keepdims).astype(jnp.int32)
        return jnp.where(jnp.all(nan, axis=axis, keepdims=keepdims), -1, at)


_nanarg("numpy.Nanargmax", jnp.argmax, -jnp.inf)
_nanarg("numpy.Nanargmin", jnp.argmin, jnp.inf)


def _quantile(name: str, quantile: Callable[..., jax.Array], percent: bool) -> None:
    @function(name)
    def at(
        x: ArrayLike,
        q: ArrayLike,
        axis: Axis = None,
        method: str = "linear",
        keepdims: bool = False,
    ) -> jax.Array:
        if name == "numpy.Quantile" and method != "linear":
            raise ValueError(
                f"method={method!r}: Keras 3.15 forgets the method when it runs the "
                "model, and computes with 'linear'"
            )
        x = as_float(x)
        # Keras takes the fractions in float32.
        fractions = (
            np.asarray(q, np.float32) / np.float32(100 if percent else 1)
            if not isinstance(q, jax.Array)
            else q / (100 if percent else 1)
        )
        return quantile(
            x, jnp.asarray(fractions, x.dtype), axis=axes_of(axis), method=method, keepdims=keepdims
        )


_quantile("numpy.Quantile", jnp.quantile, percent=False)
_quantile("numpy.Percentile", jnp.quantile, percent=True)
_quantile("numpy.Nanquantile", jnp.nanquantile, percent=False)
_quantile("numpy.Nanpercentile", jnp.nanquantile, percent=True)


@function("nn.Moments", "synchronized")
def moments(x: ArrayLike, axes: Axis, keepdims: bool = False) -> tuple[jax.Array, jax.Array]:
    """Mean and variance."""
    return jnp.mean(x, axis=axes_of(axes), keepdims=keepdims), jnp.var(
        x, axis=axes_of(axes), keepdims=keepdims
    )


@function("numpy.Sort")
def sort(x: ArrayLike, axis: int | None = -1) -> jax.Array:
    """In rising order."""
    return jnp.sort(x, axis=axis)


@function("numpy.Argsort")
def argsort(x: ArrayLike, axis: int | None = -1) -> jax.Array:
    """The positions in rising order."""
    return jnp.argsort(x, axis=axis).astype(jnp.int32)


@function("math.TopK", "sorted")
def top_k(x: ArrayLike, k: int) -> tuple[jax.Array, jax.Array]:
    """The k largest numbers along the last axis, in falling order, and their positions."""
    values, positions = jax.lax.top_k(x, k)
    return values, positions.astype(jnp.int32)


@function("math.InTopK")
def in_top_k(targets: ArrayLike, predictions: ArrayLike, k: int) -> jax.Array:
    """Whether the prediction of the target is among the k largest of its row; ties count, what is
    not finite does not.
    """
    inside = (targets >= 0) & (targets < predictions.shape[-1])
    own = jnp.take_along_axis(predictions, jnp.where(inside, targets, 0)[:, None], axis=-1)
    result: jax.Array = inside & jnp.isfinite(own[:, 0]) & (jnp.sum(predictions > own, axis=-1) < k)
    return result


@function("numpy.Histogram")
def histogram(x: ArrayLike, bins: int = 10, range: Any = None) -> tuple[jax.Array, jax.Array]:  # noqa: A002 - Keras' name
    """Counts in bins of equal width, and the edges of the bins."""
    counts, edges = jnp.histogram(as_float(x).ravel(), bins, range)
    return counts.astype(jnp.int32), edges


def _segment_prod(data: jax.Array, segment_ids: jax.Array, num_segments: int) -> jax.Array:
    """The products, in a form that has derivatives in JAX, unlike ``jax.ops.segment_prod``."""
    own = segment_ids == jnp.arange(num_segments).reshape(-1, *(1,) * segment_ids.ndim)
    own = own.reshape(*own.shape, *(1,) * (data.ndim - segment_ids.ndim))
    return jnp.prod(
        jnp.where(own, data, jnp.ones_like(data)), axis=tuple(range(1, segment_ids.ndim + 1))
    )


def _segments(name: str, reduction: Callable[..., jax.Array]) -> None:
    @function(name, "sorted")
    def reduced(
        data: jax.Array, segment_ids: jax.Array, num_segments: int | None = None
    ) -> jax.Array:
        if num_segments is None:
            raise ValueError(
                "num_segments has to be given: without it the shape of the result depends on values"
            )
        return reduction(data, segment_ids, num_segments)


_segments("math.SegmentSum", jax.ops.segment_sum)
_segments("math.SegmentMax", jax.ops.segment_max)
_segments("math.SegmentMin", jax.ops.segment_min)
_segments("math.SegmentProd", _segment_prod)
