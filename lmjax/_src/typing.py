"""Names for what functions take and return, where the types of Python say too little.

JAX has no type for a tree of arrays, and its arrays, those of NumPy and traced ones share no class
that a type checker knows the operators of. For these the names below are ``Any`` to a type checker
and tell a reader what is meant. ``Any`` itself is left for what may be anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np

#: Tuples, lists, dicts and registered classes, nested, with arrays or numbers as leaves; an array
#: is one too.
PyTree: TypeAlias = Any

#: What is fitted: a tree whose leaves are real floating-point arrays.
Params: TypeAlias = Any

#: An array of JAX, perhaps a traced one, or of NumPy.
Array: TypeAlias = Any

#: A number, or an array of no dimensions, perhaps a traced one.
Scalar: TypeAlias = Any

#: What ``numpy.asarray`` makes an array of: an array, a number, lists of numbers.
ArrayLike: TypeAlias = Any

#: An array of NumPy, of any shape and dtype.
NumpyArray: TypeAlias = np.ndarray[Any, Any]

#: A dtype, of NumPy's class.
DType: TypeAlias = np.dtype[Any]

#: The lengths of the axes of an array.
Shape: TypeAlias = tuple[int, ...]

#: A key of ``jax.random``.
Key: TypeAlias = jax.Array

#: An equation of a jaxpr; ``jax.extend.core.JaxprEqn`` says nothing of the shapes of its variables.
Equation: TypeAlias = Any

#: A function of parameters, and of further arguments, to a tree of arrays.
TreeFn: TypeAlias = Callable[..., PyTree]

#: A model: from (params, inputs) to its outputs.
ModelFn: TypeAlias = Callable[[Params, PyTree], PyTree]
