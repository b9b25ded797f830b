"""The table of functions: what Keras calls an operation, and the JAX function that computes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.layers.numerics import float_dtype
from bridge._src.typing import Axis, Sizes
from lmjax._src.typing import ArrayLike, PyTree, TreeFn

_Function = TypeVar("_Function", bound=TreeFn)

#: So many tensors may a function of any number of them (einsum, meshgrid) receive.
MAX_OPERANDS = 32


@dataclass(frozen=True)
class Function:
    """A JAX function and the names that Keras has for its arguments: those of the call first, then
    those of the constructor.

    Attributes:
        call: The function.
        arguments: Keras' names, in order.
        by_name: Whether the function knows its arguments by these names; else all are given in
            order.
        variadic: Whether its tensors are ``arguments[0]``, ``arguments[1]``, …, as many as there
            are.
        open: Whether it takes further arguments, whose names are the user's.
        without_effect: Further options that Keras' class has, which change nothing.
        renamed: Names that older versions of Keras have for some of them.
    """

    call: TreeFn
    arguments: tuple[str, ...]
    by_name: bool = True
    variadic: bool = False
    open: bool = False
    without_effect: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, **given: Any) -> PyTree:
        """The result for arguments by Keras' names."""
        if self.variadic:
            operands = [given.pop(name) for name in self.arguments[:MAX_OPERANDS] if name in given]
            return self.call(*operands, **given)
        if self.by_name:
            return self.call(**given)
        return self.call(*(given[name] for name in self.arguments))

    @property
    def options(self) -> set[str]:
        """The names that Keras may have for an argument."""
        return {*self.arguments, *self.renamed, *self.without_effect}


#: Every function of ``keras.ops`` that is served, by the module and the name of Keras' class:
#: ``numpy.Add``.
TABLE: dict[str, Function] = {}
#: Those that are not, with the reason.
REFUSED: dict[str, str] = {}


def _add(name: str, function: Function) -> None:
    if name in TABLE:
        raise ValueError(f"{name} is in the table already")
    TABLE[name] = function


def named(module: str, arguments: str, functions: Mapping[str, TreeFn]) -> None:
    """Enters functions of the same arguments, which are given in order."""
    for name, function in functions.items():
        _add(f"{module}.{name}", Function(function, tuple(arguments.split()), by_name=False))


def function(name: str, *without_effect: str, **renamed: str) -> Callable[[_Function], _Function]:
    """Decorator: enters a function whose arguments have Keras' names.

    Args:
        name: Module and class of Keras.
        without_effect: Options of the class that change nothing here.
        renamed: Spellings of arguments in older versions of Keras.
    """

    def enter(call: _Function) -> _Function:
        parameters = inspect.signature(call).parameters.values()
        variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        names = [
            spelling
            for parameter in parameters
            if parameter.kind is not parameter.VAR_KEYWORD
            for spelling in (
                [f"{parameter.name}_{number}" for number in range(MAX_OPERANDS)]
                if parameter.kind is parameter.VAR_POSITIONAL
                else [parameter.name]
            )
        ]
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        _add(
            name,
            Function(
                call,
                tuple(names),
                variadic=variadic,
                open=open_ended,
                without_effect=without_effect,
                renamed=renamed,
            ),
        )
        return call

    return enter


def refused(reason: str, *names: str) -> None:
    """Enters operations that are not served."""
    REFUSED.update(dict.fromkeys(names, reason))


def operation_of(class_name: str, options: Iterable[str]) -> str | None:
    """The module of ``keras.src.ops`` that has a class of this name whose constructor takes these
    options, if one has.
    """
    for name in (*TABLE, *REFUSED):
        module, _, found = name.partition(".")
        if found == class_name and (name in REFUSED or set(options) <= TABLE[name].options):
            return module
    return None


def dtype_of(name: Any, like: ArrayLike) -> Any:
    """The dtype that Keras calls ``name``; the dtype of ``like`` stands for all floating-point
    ones, as that of the model.
    """
    name = str(name)
    if "float" not in name:
        return jax.dtypes.canonicalize_dtype(name)
    return float_dtype(like) if hasattr(like, "dtype") else jnp.result_type(float)


def as_float(x: ArrayLike) -> jax.Array:
    """``x`` as an array of floating-point (or complex) numbers."""
    x = jnp.asarray(x)
    floating: jax.Array = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float_dtype(x))
    return floating


def axes_of(axis: Axis) -> Sizes:
    """An axis, or several, as NumPy takes them."""
    return tuple(axis) if isinstance(axis, list | tuple) else axis


def whole(values: Sizes) -> Sizes:
    """Whole numbers that have to be known when a function is traced: an int, or a tuple of them.

    Raises:
        ValueError: for numbers that are computed by the model.
    """
    try:
        return tuple(int(value) for value in values) if np.ndim(values) else int(values)
    except (TypeError, jax.errors.ConcretizationTypeError):
        raise ValueError(
            "a size, an axis or a number of repetitions is computed by the model; it has "
            "to be a constant"
        ) from None
