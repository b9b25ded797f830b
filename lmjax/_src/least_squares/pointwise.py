"""Whether a curve takes its data point by point, so that more points at the end change nothing for
the others.

Then data of ever new lengths can be filled up to a few lengths, each of which is compiled once.
What a curve does is read from its jaxprs at both lengths, in step with each other: axes whose
lengths differ are those of the points, everything else must be alike, and operations must leave the
points apart. What is not known to do so is taken to mix them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from lmjax._src.typing import Params, PyTree, TreeFn

#: Operations on numbers, entry by entry.
# fmt: off
_ENTRY_BY_ENTRY = frozenset([
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2",
    "atanh", "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "clamp", "convert_element_type",
    "copy", "copy_p", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp",
    "exp2", "expm1", "floor", "ge", "gt", "igamma", "igammac", "integer_pow", "is_finite",
    "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg",
    "nextafter", "not", "or", "polygamma", "pow", "regularized_incomplete_beta", "rem",
    "round", "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient",
    "sub", "tan", "tanh", "xor", "zeta",
])
# fmt: on
#: Those that take axes together.
_REDUCTIONS = frozenset(
    [
        "reduce_sum",
        "reduce_max",
        "reduce_min",
        "reduce_prod",
        "reduce_and",
        "reduce_or",
        "argmax",
        "argmin",
    ]
)
#: Those that run another jaxpr on their operands, and the names under which they keep it.
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


class _MixedError(Exception):
    """The points are not apart, or may not be."""


def is_pointwise(curve: TreeFn, xs: tuple[PyTree, PyTree], params: Params) -> bool:
    """Whether ``curve(x, params)`` gives a vector whose first entries are the same for both of
    ``xs``.

    ``xs`` are trees of arrays, or of shapes, alike but for their last axes, along which the second
    has more points.
    """
    try:
        one, other = (jax.make_jaxpr(curve)(x, params) for x in xs)
        _together(one, other)
    except Exception as error:  # noqa: BLE001 the curve's own, at a length that it was not written for; the fit at its own length tells
        del error
        return False
    (values,), (more,) = one.out_avals, other.out_avals
    return len(values.shape) == 1 and values.shape != more.shape


def _together(one: ClosedJaxpr, other: ClosedJaxpr) -> None:
    for a, b in zip(one.consts, other.consts, strict=True):
        if not np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True):
            raise _MixedError
    _compare(one.jaxpr, other.jaxpr)


def _compare(one: Jaxpr, other: Jaxpr) -> None:
    """Raises :class:`_MixedError` unless both do the same with every point."""
    names: dict[Any, Any] = dict(
        zip([*one.constvars, *one.invars], [*other.constvars, *other.invars], strict=True)
    )

    def check_same(a: Any, b: Any) -> None:
        if isinstance(a, Literal) or isinstance(b, Literal):
            same = (
                isinstance(a, Literal)
                and isinstance(b, Literal)
                and np.array_equal(np.asarray(a.val), np.asarray(b.val), equal_nan=True)
            )
        else:
            same = names.get(a) is b
        if not same:
            raise _MixedError

    if len(one.eqns) != len(other.eqns):
        raise _MixedError
    for first, second in zip(one.eqns, other.eqns, strict=True):
        if first.primitive is not second.primitive:
            raise _MixedError
        for a, b in zip(first.invars, second.invars, strict=True):
            check_same(a, b)
        _check_equation(first, second)
        names.update(zip(first.outvars, second.outvars, strict=True))
    for a, b in zip(one.outvars, other.outvars, strict=True):
        check_same(a, b)


def _axis(a: Any, b: Any) -> int | None:
    """The axis of the points of a variable."""
    if len(a.aval.shape) != len(b.aval.shape):
        raise _MixedError
    differing = [
        axis for axis, (m, n) in enumerate(zip(a.aval.shape, b.aval.shape, strict=True)) if m != n
    ]
    if len(differing) > 1:
        raise _MixedError
    return differing[0] if differing else None


def _check_equation(first: Any, second: Any) -> None:
    inputs = [_axis(a, b) for a, b in zip(first.invars, second.invars, strict=True)]
    outputs = [_axis(a, b) for a, b in zip(first.outvars, second.outvars, strict=True)]
    name, params = first.primitive.name, first.params
    inner = [(params[key], second.params[key]) for key in _CALLS if key in params]
    if inner and name not in ("while", "cond"):
        one, other = inner[0]
        # Of a scan.
        if any(
            params.get(key) != second.params.get(key)
            for key in ("length", "reverse", "num_consts", "num_carry")
        ):
            raise _MixedError
        if isinstance(one, ClosedJaxpr):
            _together(one, other)
        else:
            _compare(one, other)
    elif all(axis is None for axis in (*inputs, *outputs)):
        _check_parameters(params, second.params)
    elif not _keeps_apart(name, first, second, inputs, outputs):
        raise _MixedError


def _check_parameters(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Of operations without points: the jaxprs that they hold print alike, everything else is
    equal.
    """
    for key in one:
        if str(one[key]) != str(other[key]):
            raise _MixedError


def _keeps_apart(
    name: str, first: Any, second: Any, inputs: Sequence[int | None], outputs: Sequence[int | None]
) -> bool:
    params = first.params
    shapes, (out,) = (
        [var.aval.shape for var in first.invars],
        [var.aval.shape for var in first.outvars[:1]],
    )
    axis, place = inputs[0] if inputs else None, outputs[0]
    if name in _ENTRY_BY_ENTRY:
        return _options(params) == _options(second.params) and all(
            _spreads(shape, out) for shape in shapes
        )
    if name in _REDUCTIONS:
        return (
            axis not in params["axes"]
            and params["axes"] == second.params["axes"]
            and place is not None
        )
    if name == "broadcast_in_dim":
        mapping = params["broadcast_dimensions"]
        return (
            len(shapes) == 1
            and mapping == second.params["broadcast_dimensions"]
            and (axis is None or mapping[axis] == place)
        )
    if name in ("reshape", "squeeze", "expand_dims"):
        return len(shapes) == 1 and _is_moved(shapes[0], axis, out, place)
    if name == "transpose":
        return params["permutation"] == second.params["permutation"]
    if name == "concatenate":
        return params["dimension"] != place and all(found == place for found in inputs)
    if name == "stack":
        new = params["axis"]
        return place != new and all(
            found is not None and found + (found >= new) == place for found in inputs
        )
    if name == "slice":
        starts, strides = params["start_indices"], params["strides"]
        others = [k for k in range(len(starts)) if k != axis]
        ends = [
            (e.params["limit_indices"][k], e.params["start_indices"][k])
            for e in (first, second)
            for k in others
        ]
        whole = (
            axis is not None
            and starts[axis] == 0
            and out[place or 0] == shapes[0][axis]
            and (strides is None or strides[axis] == 1)
        )
        return (
            whole
            and place is not None
            and strides == second.params["strides"]
            and ends[: len(others)] == ends[len(others) :]
        )
    if name == "dot_general":
        (contracted, batch), right = params["dimension_numbers"], inputs[1]
        same = (
            params["dimension_numbers"] == second.params["dimension_numbers"]
            and params["precision"] == second.params["precision"]
        )
        apart = axis not in contracted[0] and right not in contracted[1]
        return (
            same
            and apart
            and (axis is None or right is None or (axis, right) in set(zip(*batch, strict=True)))
        )
    return False


def _spreads(shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    """Whether entries of the shape meet those of ``out`` in their places, repeated where an axis
    has one.
    """
    return not shape or (
        len(shape) == len(out)
        and all(have in (1, want) for have, want in zip(shape, out, strict=True))
    )


def _is_moved(
    shape: tuple[int, ...], axis: int | None, out: tuple[int, ...], place: int | None
) -> bool:
    """Whether a reshape leaves the axis of the points whole, with as many entries before it."""
    if axis is None or place is None:
        return False
    return shape[axis] == out[place] and np.prod(shape[:axis]) == np.prod(out[:place])


def _options(params: dict[str, Any]) -> str:
    return str(
        {key: value for key, value in params.items() if key not in ("sharding", "out_sharding")}
    )
