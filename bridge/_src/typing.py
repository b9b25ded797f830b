"""Names for what the bridge takes from Keras and from files, where the types of Python say too
little.

Keras is not imported before it is needed, and its objects have no types that a type checker knows;
what it serializes is a tree of dicts, lists, strings and numbers. For these the names below are
``Any`` to a type checker and tell a reader what is meant, as those of :mod:`lmjax._src.typing` do
for arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

#: A live model of Keras 3 or ``tf.keras``.
KerasModel: TypeAlias = Any

#: A live model, or the path of a file that holds one; in some places a ``FlaxModel`` too.
ModelSource: TypeAlias = Any

#: A live layer of Keras; or an operation, which has the same methods.
LiveLayer: TypeAlias = Any

#: A variable of Keras, or of TensorFlow.
Variable: TypeAlias = Any

#: What Keras writes of an object, or of an option: None, a number, a string, lists, dicts.
Serialized: TypeAlias = Any

#: The options of a serialized object by their names.
Config: TypeAlias = Mapping[str, Serialized]

#: A boolean array (batch, time), None, or a list of them.
Mask: TypeAlias = Any

#: An axis, or several; None for all.
Axis: TypeAlias = int | Sequence[int] | None

#: A whole number for all axes, or one for each; or an array whose values are known.
Sizes: TypeAlias = Any

#: The path of a file.
FilePath: TypeAlias = str | os.PathLike[str]
