"""Functions of ``keras.ops`` that Functional models hold in their graph: arithmetic on tensors, and
Keras' own masks.

A mask that a layer receives in a Functional model is computed in the graph by such functions, so
that every masked model has some. They have no weights and pass no mask on. What they compute stands
in ``bridge._src.operations``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.description.constants import decoded, filled
from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.registry import add, converts, refuse
from bridge._src.operations.tables import REFUSED, TABLE, Function
from bridge._src.operations.tensorflow.table import TENSORFLOW
from bridge._src.typing import Mask
from lmjax._src.typing import ArrayLike, DType, PyTree

#: Where Keras' classes of operations stand: ``keras.src.ops.numpy>Add``.
MODULE = "keras.src.ops."


#: What stands before the names of TensorFlow's functions.
_TENSORFLOW = "tf."


class Operation(KerasLayer):
    """A function of the table, with the options that its constructor got.

    Attributes:
        function: Its name in :data:`bridge._src.operations.table.TABLE`.
        options: Options by Keras' names.
    """

    function: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def from_options(cls, function: str, config: LayerConfig) -> Self:
        """The operation for a Keras config."""
        known = TABLE[function]
        config.ignore(*known.without_effect)
        if (
            function.startswith("image.")
            and "data_format" in known.arguments
            and config.get("data_format") is None
            and _channels_first()
        ):
            raise LayerRefused(
                "its data_format is left to Keras' configuration, which says "
                "channels_first; pass data_format= to the function"
            )
        names = [
            name
            for name in config
            if known.renamed.get(name, name) in known.arguments and name != "name"
        ]
        return cls(
            function,
            tuple((known.renamed.get(name, name), _option(config[name])) for name in names),
        )

    @property
    def _known(self) -> Function:
        return (
            TENSORFLOW[self.function[3:]]
            if self.function.startswith(_TENSORFLOW)
            else TABLE[self.function]
        )

    @property
    def arguments(self) -> tuple[str, ...]:  # type: ignore[override]  # those of one class are the same, these are not
        """Keras' names of the arguments, in order."""
        return self._known.arguments

    def takes(self, argument: str) -> bool:
        return argument in self.arguments or self._known.open

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None

    def __call__(self, inputs: ArrayLike, mask: Mask = None, **given: Any) -> PyTree:
        options = filled(dict(self.options), _dtype(inputs))
        if mask is not None and "mask" in self.arguments:
            given["mask"] = mask
        arguments = {**options, self.arguments[0]: inputs, **given}
        if any(
            isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(arguments)
        ) and not _tensors(arguments):
            # A shape, and what is made of it, has to be known when a function is traced.
            with jax.ensure_compile_time_eval():
                return jax.tree.map(np.asarray, self._known(**arguments))
        outputs = self._known(**arguments)
        return tuple(outputs) if isinstance(outputs, list) else outputs


def _channels_first() -> bool:
    """Whether Keras' own configuration, if there is any yet, has the channels of images first."""
    keras = sys.modules.get("keras")
    return keras is not None and keras.config.image_data_format() == "channels_first"


def _tensors(tree: PyTree) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]


def _dtype(inputs: PyTree) -> DType:
    leaves = _tensors(inputs)
    return float_dtype(leaves[0]) if leaves else jnp.result_type(float)


def _option(value: Any) -> Any:
    """An option with its arrays as constants; sequences are tuples already."""
    if isinstance(value, Mapping):
        try:
            return decoded(value)
        except ValueError as error:
            raise LayerRefused(str(error)) from None
    return tuple(map(_option, value)) if isinstance(value, tuple) else value


@converts("TFOpLambda", "SlicingOpLambda")
class TensorFlowFunction(Operation):
    """A function of TensorFlow in a model of Keras 2; what it gets are arguments of its call."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        name = f"{_TENSORFLOW}{config['function']}"
        if config["function"] not in TENSORFLOW:
            raise LayerRefused(
                f"there is no function of JAX for {name}; write it as a layer of your own in "
                "the model, and register a converter for that layer (docs/custom-layers.md)"
            )
        return cls(name)


for _name in TABLE:
    _module, _, _class_name = _name.partition(".")
    add(f"{MODULE}{_module}>{_class_name}", functools.partial(Operation.from_options, _name))
for _name, _reason in REFUSED.items():
    _module, _, _class_name = _name.partition(".")
    refuse(f"{MODULE}{_module}>{_class_name}", _reason)
