"""What JAX says of a caller's function that it cannot trace or differentiate, told with what to do
and where.
"""

from __future__ import annotations

import linecache
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

#: Folders in which no line is the caller's. SciPy's are, in part, those of its functions in Python.
_OTHERS = (
    str(Path(__file__).parents[2]) + os.sep,
    *(str(Path(str(package.__file__)).parent) + os.sep for package in (jax, np)),
)

#: Parts of messages by which NumPy and JAX refuse a value that is only traced, where the type of
#: the error does not tell.
_UNTRACEABLE = ("ufunc", "item assignment", "are immutable", "Only scalar arrays can be converted")

#: The same of functions without derivatives.
_WITHOUT_DERIVATIVES = (
    "do not support JVP",
    "does not support JVP",
    "ifferentiation rule for",
    "mode differentiation",
    "mode autodiff",
)

_HOW_TO_WRITE = (
    "Functions are traced and differentiated by JAX: write this one with jax.numpy (jnp.exp in "
    "place of np.exp and math.exp, jnp.where in place of `if` and of masks, x.at[i].set(y) in "
    "place of x[i] = y, jax.scipy.special in place of scipy.special)"
)
_HOW_TO_CALL = (
    "; what cannot be written so is called by jax.pure_callback, with its derivatives as jac= "
    "(in curve_fit jac='2-point' takes differences)"
)
_HOW_TO_DIFFERENTIATE = (
    "pass its derivatives as jac= (in curve_fit jac='2-point' takes differences), or give the "
    "function a rule with jax.custom_jvp; with the solver's jacobian='auto', reverse mode "
    "alone is enough"
)


def explain(error: Exception, name: str, takes_jac: bool = True) -> None:
    """Raises a TypeError in place of ``error``, if that says that JAX cannot trace or differentiate
    the argument of this ``name``.

    ``takes_jac`` says whether there is a ``jac=`` beside that argument.
    """
    where = next(filter(None, map(_callers_line, _chain(error))), None)
    for each in _chain(error):
        if isinstance(each, jax.errors.UnexpectedTracerError):
            return
        if isinstance(each, (jax.errors.JAXTypeError, jax.errors.JAXIndexError)) or (
            isinstance(each, TypeError)
            and where
            and any(part in str(each) for part in _UNTRACEABLE)
        ):
            raise TypeError(
                f"{name}: JAX cannot trace {where or 'it'} ({type(each).__name__}). "
                f"{_HOW_TO_WRITE}{_HOW_TO_CALL * takes_jac}"
            ) from error
        if isinstance(each, (TypeError, ValueError, NotImplementedError)) and any(
            part in str(each) for part in _WITHOUT_DERIVATIVES
        ):
            raise TypeError(
                f"{name}: JAX has no derivative of it{f', at {where}' if where else ''}; "
                f"{_HOW_TO_DIFFERENTIATE}"
            ) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that led to it, the first ones last."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _callers_line(error: BaseException) -> str | None:
    """The innermost line that is neither ours nor JAX's nor NumPy's; None where there is none."""
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if not os.path.abspath(file).startswith(_OTHERS) and not file.startswith("<frozen"):
            code = linecache.getline(file, number).strip()
            return f"{os.path.basename(file)}, line {number}, in {frame.f_code.co_name}" + (
                f": `{code}`" if code else ""
            )
    return None
