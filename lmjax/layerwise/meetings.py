"""Where a model's parameters meet its data: found in the jaxpr, so that any pure function will do.

The jaxpr of the model for one sample is evaluated equation by equation. Parameters are followed through reshapes,
transpositions and broadcasts, and into nested calls. Where one meets data in a product, a convolution, a sum or a table
lookup, the other operand is noted and a perturbation (zero) is added to the result: the derivative δ in the perturbation,
together with that operand a, is all that there is to know of the parameter's rows of J (a ⊗ δ in a dense layer). A parameter
that is used twice, or in a way without a rule here, is differentiated itself.

The structure is that of the empirical neural tangent kernel (R. Novak, J. Sohl-Dickstein, S. S. Schoenholz, "Fast finite
width neural tangent kernel", ICML 2022).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import api_util
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jax.extend.core import Literal as Constant

from lmjax.patches import Geometry, extract_patches

#: Equations whose result has the entries of their first operand, each once.
_PERMUTING = {"reshape", "squeeze", "transpose", "rev", "copy", "copy_p", "expand_dims"}
#: Calls whose inside is followed, and the name of their jaxpr. A ``custom_jvp`` rule is taken to be the derivative of its
#: function wherever parameter and data meet inside.
_CALLS = {
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "jit": "jaxpr",
    "remat2": "jaxpr",  # jax.checkpoint
}

#: What a jaxpr must carry for JAX's messages.
_UNNAMED = api_util.debug_info("layerwise", lambda: None, (), {}).with_unknown_names()


@dataclasses.dataclass(frozen=True)
class Meeting:
    """One place where a parameter meets data.

    ``product``: outputs (T, F) = data (T, K) @ parameter (K, F), up to permutations; noted is data. ``lookup``: outputs
    (T, F) are the rows of the parameter that integers (T,) name; noted are the integers. ``entrywise``: outputs = data ·
    view of the parameter, or data ± view; noted is data, or ±1.
    """

    leaf: int
    kind: Literal["product", "lookup", "entrywise"]
    shape: tuple[int, ...]  #: of the outputs
    order: tuple[int, ...] = ()  #: the permutation of the outputs' axes that brings them to (T…, F…)
    features: int = 1  #: F
    view: Callable[[jax.Array], jax.Array] | None = dataclasses.field(default=None, compare=False)

    def arranged(self, deltas: jax.Array) -> jax.Array:
        """``deltas`` of the outputs' shape as (T, F)."""
        return deltas.transpose(self.order).reshape(-1, self.features)


@dataclasses.dataclass(frozen=True)
class _View:
    """A value that is a parameter in other clothes."""

    leaf: int
    function: Callable[[jax.Array], jax.Array]  #: from the parameter to the value, linear
    permuted: bool  #: whether it holds each entry exactly once


class _Walk:
    """One evaluation: what was met, and the perturbations to add (None: only look)."""

    def __init__(self, opaque: frozenset[int], perturbations: Sequence[jax.Array] | None) -> None:
        self.opaque, self.perturbations = opaque, perturbations
        self.meetings: list[Meeting] = []
        self.noted: list[jax.Array] = []
        self.unruly: set[int] = set()  #: parameters used in a way without a rule

    def meet(self, meeting: Meeting, noted: jax.Array, outputs: jax.Array) -> jax.Array:
        if meeting.leaf in self.opaque:
            return outputs
        self.meetings.append(meeting)
        self.noted.append(noted)
        return outputs if self.perturbations is None else outputs + self.perturbations[len(self.meetings) - 1]

    def run(
        self, jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any], views: Sequence[_View | None]
    ) -> tuple[list[Any], list[_View | None]]:
        """The values of ``jaxpr`` and what they are views of."""
        values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
        known: dict[Any, _View] = {var: view for var, view in zip(jaxpr.invars, views, strict=True) if view is not None}
        for equation in jaxpr.eqns:
            inputs = [v.val if isinstance(v, Constant) else values[v] for v in equation.invars]
            seen = [None if isinstance(v, Constant) else known.get(v) for v in equation.invars]
            outputs, output_views = self._evaluate(equation, inputs, seen)
            values.update(zip(equation.outvars, outputs, strict=True))
            known.update((var, view) for var, view in zip(equation.outvars, output_views, strict=True) if view is not None)
        results = [v.val if isinstance(v, Constant) else values[v] for v in jaxpr.outvars]
        return results, [None if isinstance(v, Constant) else known.get(v) for v in jaxpr.outvars]

    def _evaluate(self, equation: Any, inputs: list[Any], views: list[_View | None]) -> tuple[list[Any], list[_View | None]]:
        name, count = equation.primitive.name, sum(view is not None for view in views)
        if count and name in _CALLS and (count < len(views) or name != "custom_jvp_call"):
            inner = equation.params[_CALLS[name]]
            jaxpr, constants = (inner, ()) if isinstance(inner, Jaxpr) else (inner.jaxpr, inner.consts)
            return self.run(jaxpr, constants, inputs, views)
        bound = _bind(equation, inputs)
        if not count:
            return bound, [None] * len(bound)
        first = views[0]
        if first is not None and count == len(views) and (view := _dressed(equation, first)) is not None:
            return bound, [view]
        rule = _RULES.get(name)
        met = rule(equation, inputs, views) if rule is not None and count == 1 else None
        if met is None:
            self.unruly.update(view.leaf for view in views if view is not None)
            return bound, [None] * len(bound)
        return [self.meet(*met, bound[0])], [None]


def find_meetings(function: Callable[..., Any], params: Sequence[Any], inputs: Any) -> tuple[tuple[Meeting, ...], frozenset[int]]:
    """The meetings of ``function(params, inputs)`` (of one sample; shapes are enough), and the opaque parameters.

    Opaque are those that must be differentiated themselves. ``params`` is a list of arrays; parameters that the function
    does not use are in neither.
    """
    opaque: frozenset[int] = frozenset()
    while True:
        walk = _Walk(opaque, None)
        jax.eval_shape(lambda p, x, walk=walk: _walked(walk, function, p, x), params, inputs)
        leaves = [meeting.leaf for meeting in walk.meetings]
        found = opaque | walk.unruly | {leaf for leaf in leaves if leaves.count(leaf) > 1}
        if found == opaque:
            return tuple(walk.meetings), opaque
        opaque = frozenset(found)


def follow(
    function: Callable[..., Any], params: Sequence[Any], inputs: Any, opaque: frozenset[int], perturbations: Sequence[jax.Array]
) -> tuple[jax.Array, list[jax.Array]]:
    """The outputs of ``function(params, inputs)`` with the meetings perturbed, and what was noted at each."""
    walk = _Walk(opaque, perturbations)
    return _walked(walk, function, params, inputs), walk.noted


def _walked(walk: _Walk, function: Callable[..., Any], params: Sequence[Any], inputs: Any) -> Any:
    closed, shape = jax.make_jaxpr(function, return_shape=True)(params, inputs)
    leaves = jax.tree.leaves((params, inputs))
    views = [_View(i, lambda leaf: leaf, True) if i < len(params) and i not in walk.opaque else None for i in range(len(leaves))]
    results, _ = walk.run(closed.jaxpr, closed.consts, leaves, views)
    return jax.tree.unflatten(jax.tree.structure(shape), results)


def _bind(equation: Any, inputs: Sequence[Any]) -> list[Any]:
    """The equation's results, by a jaxpr of its own: JAX's public way of evaluating one."""
    arguments = {var: value for var, value in zip(equation.invars, inputs, strict=True) if not isinstance(var, Constant)}
    jaxpr = Jaxpr((), list(arguments), equation.outvars, [equation], equation.effects, debug_info=_UNNAMED)
    return list(jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))(*arguments.values()))


def _dressed(equation: Any, view: _View) -> _View | None:
    """The view after an equation that only rearranges or repeats, else None."""
    name = equation.primitive.name
    if name == "convert_element_type":
        permuted = equation.params["new_dtype"] == equation.invars[0].aval.dtype
        if not permuted:
            return None
    elif name == "broadcast_in_dim":
        permuted = math.prod(equation.params["shape"]) == equation.invars[0].aval.size
    elif name in _PERMUTING:
        permuted = True
    else:
        return None
    return _View(view.leaf, lambda leaf: _bind(equation, [view.function(leaf)])[0], view.permuted and permuted)


Met = tuple[Meeting, jax.Array]


def _product(equation: Any, inputs: list[Any], views: list[_View | None]) -> Met | None:
    (contracted, batched) = equation.params["dimension_numbers"]
    side = 0 if views[0] is not None else 1
    view, data = views[side], inputs[1 - side]
    if view is None or not view.permuted or batched[0]:
        return None
    shape, contracted = equation.outvars[0].aval.shape, contracted[1 - side]
    kept = [axis for axis in range(data.ndim) if axis not in contracted]
    positions = len(kept)
    axes = tuple(range(len(shape)))
    order = axes if side == 1 else (*axes[len(shape) - positions :], *axes[: len(shape) - positions])
    features = math.prod(shape[axis] for axis in order[positions:])
    arranged = data.transpose(*kept, *contracted).reshape(math.prod(data.shape[axis] for axis in kept), -1)
    return Meeting(view.leaf, "product", shape, order, features), arranged


def _convolution(equation: Any, inputs: list[Any], views: list[_View | None]) -> Met | None:
    params, view = equation.params, views[1]
    if view is None or not view.permuted or params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
        return None
    numbers, shape = params["dimension_numbers"], equation.outvars[0].aval.shape
    lhs, rhs, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    window = tuple(inputs[1].shape[axis] for axis in rhs[2:])
    geometry = Geometry(params["window_strides"], params["padding"], params["lhs_dilation"], params["rhs_dilation"], 1)
    patches = extract_patches(inputs[0].transpose(lhs[0], *lhs[2:], lhs[1]), window, geometry)
    order = (out[0], *out[2:], out[1])
    return Meeting(view.leaf, "product", shape, order, shape[out[1]]), patches.reshape(-1, math.prod(window) * inputs[1].shape[rhs[1]])


def _lookup(equation: Any, inputs: list[Any], views: list[_View | None]) -> Met | None:
    numbers, sizes, (view, _) = equation.params["dimension_numbers"], equation.params["slice_sizes"], views
    table, indices = inputs
    plain = table.ndim == 2 and sizes == (1, table.shape[1]) and numbers.collapsed_slice_dims == (0,) and numbers.start_index_map == (0,)
    if view is None or not view.permuted or not plain or numbers.operand_batching_dims:
        return None
    shape = equation.outvars[0].aval.shape
    if numbers.offset_dims != (len(shape) - 1,):
        return None
    rows = jnp.clip(indices.reshape(-1), 0, table.shape[0] - 1)
    return Meeting(view.leaf, "lookup", shape, tuple(range(len(shape))), table.shape[1]), rows


def _entrywise(equation: Any, inputs: list[Any], views: list[_View | None]) -> Met | None:
    side = 0 if views[0] is not None else 1
    view = views[side]
    shape = equation.outvars[0].aval.shape
    name, noted = equation.primitive.name, inputs[1 - side]
    if view is None or (name == "div" and side == 1):
        return None
    if name == "div":
        noted = 1 / noted
    elif name != "mul":
        noted = jnp.asarray(-1 if name == "sub" and side == 1 else 1, inputs[side].dtype)
    return Meeting(view.leaf, "entrywise", shape, view=lambda leaf: jnp.broadcast_to(view.function(leaf), shape)), noted


_RULES: dict[str, Callable[[Any, list[Any], list[_View | None]], Met | None]] = {
    "dot_general": _product,
    "conv_general_dilated": _convolution,
    "gather": _lookup,
    "add": _entrywise,
    "add_any": _entrywise,
    "sub": _entrywise,
    "mul": _entrywise,
    "div": _entrywise,
}
