"""What a jaxpr costs, from shapes alone, what it factorises, and whether it calls Python."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr


def operations(jaxpr: Jaxpr) -> float:
    """Additions and multiplications of products and convolutions, and one for each entry of every
    other result.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        result: Any = equation.outvars[0].aval
        operands: list[Any] = [var.aval for var in equation.invars]
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2.0 * result.size * math.prod(operands[0].shape[axis] for axis in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            kernel, numbers = operands[1], equation.params["dimension_numbers"]
            total += 2.0 * result.size * kernel.size / kernel.shape[numbers.rhs_spec[0]]
        else:
            nested = [operations(inner) for inner in _nested(equation)]
            total += equation.params.get("length", 1) * sum(nested) if nested else result.size
    return total


def largest_array(jaxpr: Jaxpr) -> int:
    """The most entries of any result on the way."""
    sizes = [getattr(var.aval, "size", 0) for equation in jaxpr.eqns for var in equation.outvars]
    return max(
        [
            1,
            *sizes,
            *(largest_array(inner) for equation in jaxpr.eqns for inner in _nested(equation)),
        ]
    )


#: Primitives that LAPACK computes on a CPU.
_FACTORISATIONS = frozenset(
    {"cholesky", "triangular_solve", "qr", "geqrf", "householder_product", "eigh", "svd"}
)


def largest_factorisation(jaxpr: Jaxpr) -> int:
    """The multiplications, but for a factor, of the largest factorisation or substitution of one
    matrix, those in branches as well; 0 without.
    """
    found = [0]
    for equation in jaxpr.eqns:
        if equation.primitive.name in _FACTORISATIONS:
            shapes: list[Any] = [getattr(var.aval, "shape", ())[-2:] for var in equation.invars]
            found += [max(shape) * min(shape) ** 2 for shape in shapes if shape]
        found += map(largest_factorisation, _everywhere(equation))
    return max(found)


def calls_python(jaxpr: Jaxpr) -> bool:
    """Whether results come from Python's code at run time, by ``jax.pure_callback`` or
    ``io_callback``.
    """
    return any(
        equation.primitive.name in ("pure_callback", "io_callback")
        or any(map(calls_python, _everywhere(equation)))
        for equation in jaxpr.eqns
    )


#: Whose derivatives are what somebody wrote, if there are any.
_OWN_RULES = (
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
    "pure_callback",
    "io_callback",
    "ffi_call",
)


def has_own_rules(jaxpr: Jaxpr) -> bool:
    """Whether a function is called whose derivatives are not JAX's own, and may not exist."""
    return any(
        equation.primitive.name in _OWN_RULES or any(map(has_own_rules, _everywhere(equation)))
        for equation in jaxpr.eqns
    )


def has_missing_rules(jaxpr: Jaxpr) -> bool:
    """Whether a derivative is taken in forward mode of what has a rule for reverse mode alone; it
    fails when it is compiled.
    """
    return any(
        equation.primitive.name == "custom_lin"
        or any(map(has_missing_rules, _everywhere(equation)))
        for equation in jaxpr.eqns
    )


_OF_NUMBERS = {"abs", "ceil", "clamp", "floor", "max", "min", "rem", "round", "select_n", "sign"}
_OF_ARRAYS = {
    "argmax",
    "argmin",
    "cummax",
    "cummin",
    "reduce_max",
    "reduce_min",
    "scatter_max",
    "scatter_min",
    "sort",
    "top_k",
}
_OF_WINDOWS = {"reduce_window", "reduce_window_max", "reduce_window_min", "select_and_gather_add"}
#: Where derivatives may jump, beside what somebody else has written; also in what is smooth as a
#: whole, as the softmax.
_KINKS = frozenset({"cond", "while"} | _OF_NUMBERS | _OF_ARRAYS | _OF_WINDOWS)


def may_have_kinks(jaxpr: Jaxpr) -> bool:
    """Whether derivatives may jump: false for what is composed of smooth operations only."""
    return any(
        equation.primitive.name in _KINKS
        or (equation.primitive.name in _OWN_RULES and equation.primitive.name != "custom_jvp_call")
        or any(map(may_have_kinks, _everywhere(equation)))
        for equation in jaxpr.eqns
    )


def _everywhere(equation: Any) -> Iterator[Jaxpr]:
    """The jaxprs of an equation, those of its branches as well."""
    yield from _nested(equation)
    for branch in equation.params.get("branches", ()):
        yield branch.jaxpr


def _nested(equation: Any) -> Iterator[Jaxpr]:
    for value in equation.params.values():
        inner = value.jaxpr if isinstance(value, ClosedJaxpr) else value
        if isinstance(inner, Jaxpr):
            yield inner
