"""Where a model's parameters meet its data: found in the jaxpr, so that any pure function will do.

The jaxpr of the model for one sample is evaluated equation by equation. Parameters are followed
through reshapes, transpositions, slices and broadcasts, and into nested calls and loops of known
length (``scan``). Where one meets data in a product, a convolution, a sum or a table lookup, the
other operand is noted and a perturbation (zero) is added to the result: the derivative δ in the
perturbation, together with that operand a, is all that there is to know of the parameter's rows of
J (a ⊗ δ in a dense layer). A parameter whose entries are used twice, or in a way without a rule
here, is differentiated itself.

The structure is that of the empirical neural tangent kernel (R. Novak, J. Sohl-Dickstein, S. S.
Schoenholz, "Fast finite width neural tangent kernel", ICML 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax import api_util
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jax.extend.core import Literal as Constant

from lmjax._src.layerwise.parameter_views import View, disjoint, dressed
from lmjax._src.layerwise.rules import RULES, NotedUse, ParameterUse, repeated
from lmjax._src.typing import Array, Equation, PyTree, TreeFn

#: Calls whose inside is followed, and the name of their jaxpr. A ``custom_jvp`` rule is taken to be
#: the derivative of its function wherever parameter and data meet inside.
_CALLS = {
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "jit": "jaxpr",
    "remat2": "jaxpr",  # jax.checkpoint
}

#: What a jaxpr must carry for JAX's messages.
_UNNAMED = api_util.debug_info("layerwise", lambda: None, (), {}).with_unknown_names()

Results = tuple[list[Array], list[View | None]]


class _Walk:
    """One evaluation: what was met, and the perturbations to add (None: only look)."""

    def __init__(self, opaque: frozenset[int], perturbations: Sequence[jax.Array] | None) -> None:
        self.opaque, self.perturbations = opaque, perturbations
        self.uses: list[ParameterUse] = []
        self.noted: list[Array] = []
        self.unruly: set[int] = set()  #: parameters used in a way without a rule

    def meet(self, met: NotedUse, outputs: jax.Array) -> jax.Array:
        if met.use.leaf in self.opaque:
            return outputs
        self.uses.append(met.use)
        self.noted.append(met.noted)
        return (
            outputs
            if self.perturbations is None
            else outputs + self.perturbations[len(self.uses) - 1]
        )

    def run(
        self,
        jaxpr: Jaxpr,
        constants: Sequence[Array],
        arguments: Sequence[Array],
        views: Sequence[View | None],
    ) -> Results:
        """The values of ``jaxpr`` and what they are views of."""
        values: dict[Any, Any] = dict(
            zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True)
        )
        known: dict[Any, View] = {
            var: view for var, view in zip(jaxpr.invars, views, strict=True) if view is not None
        }
        for equation in jaxpr.eqns:
            inputs = [v.val if isinstance(v, Constant) else values[v] for v in equation.invars]
            seen = [None if isinstance(v, Constant) else known.get(v) for v in equation.invars]
            outputs, output_views = self._evaluate(equation, inputs, seen)
            values.update(zip(equation.outvars, outputs, strict=True))
            known.update(
                (var, view)
                for var, view in zip(equation.outvars, output_views, strict=True)
                if view is not None
            )
        results = [v.val if isinstance(v, Constant) else values[v] for v in jaxpr.outvars]
        return results, [None if isinstance(v, Constant) else known.get(v) for v in jaxpr.outvars]

    def _evaluate(
        self, equation: Equation, inputs: list[Array], views: list[View | None]
    ) -> Results:
        name, count = equation.primitive.name, sum(view is not None for view in views)
        if count and name in _CALLS and (count < len(views) or name != "custom_jvp_call"):
            inner = equation.params[_CALLS[name]]
            jaxpr, constants = (
                (inner, ()) if isinstance(inner, Jaxpr) else (inner.jaxpr, inner.consts)
            )
            return self.run(jaxpr, constants, inputs, views)
        if count and name == "scan":
            return self._loop(equation, inputs, views)
        bound = _bind(equation, inputs)
        if not count:
            return bound, [None] * len(bound)
        first = views[0]
        if (
            first is not None
            and len(views) == 1
            and (after := dressed(equation, first)) is not None
        ):
            return bound, list(after)
        rule = RULES.get(name)
        met = rule(equation, inputs, views) if rule is not None and count == 1 else None
        if met is None:
            self._refuse(views)
            return bound, [None] * len(bound)
        return [self.meet(met, bound[0])], [None]

    def _loop(self, equation: Equation, inputs: list[Array], views: list[View | None]) -> Results:
        """A ``scan``, whose constants may be parameters: the perturbations of a turn come with it,
        and what it notes leaves with it.
        """
        params, body = equation.params, equation.params["jaxpr"]
        fixed, carried = _scanned(params)
        self._refuse(views[fixed:])
        inside = [*views[:fixed], *[None] * (len(views) - fixed)]

        def turn(walk: _Walk, arguments: Sequence[Array]) -> Results:
            return walk.run(body.jaxpr, body.consts, arguments, inside)

        look, leaving = _Walk(self.opaque, None), list[View | None]()

        def looking(*arguments: Array) -> list[Array]:
            outputs, seen = turn(look, arguments)
            leaving.extend(seen)
            return outputs

        jax.eval_shape(
            looking, *(jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in body.in_avals)
        )
        self._refuse(leaving)
        self.unruly |= look.unruly
        begin = len(self.uses)
        self.uses += [repeated(use, params["length"]) for use in look.uses]
        if self.perturbations is None:
            self.noted += look.noted
            bound = _bind(equation, inputs)
            return bound, [None] * len(bound)

        def perturbed(
            carry: list[Array], slices: tuple[list[Array], list[jax.Array]]
        ) -> tuple[list[Array], tuple[list[Array], list[Array]]]:
            walk = _Walk(self.opaque, slices[1])
            outputs, _ = turn(walk, [*inputs[:fixed], *carry, *slices[0]])
            return outputs[: carried - fixed], (outputs[carried - fixed :], walk.noted)

        slices = inputs[carried:], list(self.perturbations[begin : len(self.uses)])
        options = {name: params[name] for name in ("length", "reverse", "unroll")}
        carry, (stacked, noted) = jax.lax.scan(perturbed, inputs[fixed:carried], slices, **options)
        self.noted += noted
        return [*carry, *stacked], [None] * (len(carry) + len(stacked))

    def _refuse(self, views: Sequence[View | None]) -> None:
        self.unruly.update(view.leaf for view in views if view is not None)


def _scanned(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many inputs of a ``scan`` are constants, and how many constants or carried."""
    if "ft_in" in params:  # JAX 0.12
        fixed, carried = (len(list(part)) for part in params["ft_in"].unpack()[:2])
    else:
        fixed, carried = params["num_consts"], params["num_carry"]
    return fixed, fixed + carried


def find_parameter_uses(
    function: TreeFn, params: Sequence[Array], inputs: PyTree
) -> tuple[tuple[ParameterUse, ...], frozenset[int]]:
    """The uses of ``function(params, inputs)`` (of one sample; shapes are enough), and the
    opaque parameters.

    Opaque are those that must be differentiated themselves. ``params`` is a list of arrays;
    parameters that the function does not use are in neither. Where a parameter has several
    uses, each is with other entries of it.
    """
    opaque: frozenset[int] = frozenset()
    while True:
        walk = _Walk(opaque, None)
        jax.eval_shape(lambda p, x, walk=walk: _walked(walk, function, p, x), params, inputs)
        found = opaque | walk.unruly | _twice(walk.uses, params)
        if found == opaque:
            return tuple(walk.uses), opaque
        opaque = frozenset(found)


def _twice(uses: Sequence[ParameterUse], params: Sequence[Array]) -> set[int]:
    """The parameters of which an entry is in two uses."""
    views: dict[int, list[View]] = {}
    for use in uses:
        views.setdefault(use.leaf, []).append(use.view)
    return {
        leaf
        for leaf, several in views.items()
        if len(several) > 1 and not disjoint(several, params[leaf].shape)
    }


def follow(
    function: TreeFn,
    params: Sequence[Array],
    inputs: PyTree,
    opaque: frozenset[int],
    perturbations: Sequence[jax.Array],
) -> tuple[jax.Array, list[jax.Array]]:
    """The outputs of ``function(params, inputs)`` with the uses perturbed, and what was noted
    at each.
    """
    walk = _Walk(opaque, perturbations)
    return _walked(walk, function, params, inputs), walk.noted


def _walked(walk: _Walk, function: TreeFn, params: Sequence[Array], inputs: PyTree) -> PyTree:
    closed, shape = jax.make_jaxpr(function, return_shape=True)(params, inputs)
    leaves = jax.tree.leaves((params, inputs))
    views = [
        View(i, lambda parameter: parameter, True)
        if i < len(params) and i not in walk.opaque
        else None
        for i in range(len(leaves))
    ]
    results, leaving = walk.run(closed.jaxpr, closed.consts, leaves, views)
    walk.unruly.update(view.leaf for view in leaving if view is not None)
    return jax.tree.unflatten(jax.tree.structure(shape), results)


def _bind(equation: Equation, inputs: Sequence[Array]) -> list[Array]:
    """The equation's results, by a jaxpr of its own: JAX's public way of evaluating one."""
    arguments = {
        var: value
        for var, value in zip(equation.invars, inputs, strict=True)
        if not isinstance(var, Constant)
    }
    jaxpr = Jaxpr(
        (), list(arguments), equation.outvars, [equation], equation.effects, debug_info=_UNNAMED
    )
    return list(jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))(*arguments.values()))
