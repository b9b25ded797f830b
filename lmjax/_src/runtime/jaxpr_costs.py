"""What a jaxpr costs, from shapes alone, what it factorises, and whether it calls Python."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

from lmjax._src.typing import Equation


def operations(jaxpr: Jaxpr) -> float:
    """Additions and multiplications of products and convolutions, and one for each entry of every
    other result; of the dearest branch where there are several.
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
            nested = [operations(inner) for inner in _inside(equation)]
            together = max if equation.primitive.name == "cond" else sum
            total += equation.params.get("length", 1) * together(nested) if nested else result.size
    return total


def equations(jaxpr: Jaxpr) -> Iterator[Equation]:
    """Every equation, those of nested calls, of loops and of branches as well."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in _inside(equation):
            yield from equations(inner)


def largest_array(jaxpr: Jaxpr) -> int:
    """The most entries of any result on the way."""
    results = (var.aval for equation in equations(jaxpr) for var in equation.outvars)
    return max((getattr(result, "size", 0) for result in results), default=0) or 1


def result_bytes(jaxpr: Jaxpr) -> int:
    """The memory of all results on the way, if each were kept."""
    results: Iterator[Any] = (var.aval for each in equations(jaxpr) for var in each.outvars)
    return sum(result.size * result.dtype.itemsize for result in results)


#: Primitives that LAPACK computes on a CPU.
_FACTORISATIONS = frozenset(
    {"cholesky", "triangular_solve", "qr", "geqrf", "householder_product", "eigh", "svd"}
)


def largest_factorisation(jaxpr: Jaxpr) -> int:
    """The multiplications, but for a factor, of the largest factorisation or substitution of one
    matrix; 0 without.
    """
    found = [0]
    for equation in equations(jaxpr):
        if equation.primitive.name in _FACTORISATIONS:
            shapes: list[Any] = [getattr(var.aval, "shape", ())[-2:] for var in equation.invars]
            found += [max(shape) * min(shape) ** 2 for shape in shapes if shape]
    return max(found)


def calls_python(jaxpr: Jaxpr) -> bool:
    """Whether results come from Python's code at run time, by ``jax.pure_callback`` or
    ``io_callback``.
    """
    callbacks = ("pure_callback", "io_callback")
    return any(equation.primitive.name in callbacks for equation in equations(jaxpr))


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
    return any(equation.primitive.name in _OWN_RULES for equation in equations(jaxpr))


def has_missing_rules(jaxpr: Jaxpr) -> bool:
    """Whether a derivative is taken in forward mode of what has a rule for reverse mode alone; it
    fails when it is compiled.
    """
    return any(equation.primitive.name == "custom_lin" for equation in equations(jaxpr))


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
    unknown = _KINKS | {*_OWN_RULES} - {"custom_jvp_call"}
    return any(equation.primitive.name in unknown for equation in equations(jaxpr))


def _inside(equation: Equation) -> Iterator[Jaxpr]:
    """The jaxprs of a call, of a loop, of branches."""
    for value in equation.params.values():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            inner = each.jaxpr if isinstance(each, ClosedJaxpr) else each
            if isinstance(inner, Jaxpr):
                yield inner
