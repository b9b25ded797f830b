"""What a model needs is checked before its weights are read: how many calls, which shapes, how much
for constants.
"""

from __future__ import annotations

import flax.errors
import jax

from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph
from bridge._src.description.weights import WeightTable, nest
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.numerics import limited_tables
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.renaming import for_flax

#: Stands in for a size that the model leaves open, when shapes are checked without data.
OPEN_SIZE = 128
#: The largest models that Keras comes with call some thousand layers; each call takes a millisecond
#: to trace and more to compile.
MAX_CALLS = 10_000


def check_calls(module: KerasGraph) -> None:
    """Raises :class:`ConversionError` when the model calls more layers than can be traced.

    A model of two calls of a model of two calls of … needs a configuration of a few lines and a
    million calls.
    """
    counted: dict[int, int] = {}

    def calls(layer: KerasLayer) -> int:
        if id(layer) not in counted:
            children = layer.children()
            called = (
                [children[node.layer] for node in layer.nodes]
                if isinstance(layer, KerasGraph)
                else children.values()
            )
            counted[id(layer)] = 1 + sum(calls(child) for child in called)
        return counted[id(layer)]

    if calls(module) > MAX_CALLS:
        raise ConversionError(
            f"its layers are called {calls(module):,} times, inner models included; at "
            f"most {MAX_CALLS:,} calls are read"
        )


def check_shapes(graph: LayerGraph, module: KerasGraph, table: WeightTable) -> None:
    """Checks by abstract evaluation that the weights in ``table`` have the shapes which ``module``
    declares.

    Raises:
        ConversionError: when they do not, or the model cannot be evaluated on its own input shape.
    """
    applied, weights = for_flax(
        module, nest({entry.path: jax.ShapeDtypeStruct(entry.shape, "float32") for entry in table})
    )
    inputs = tuple(
        jax.ShapeDtypeStruct(
            (spec.batch or 2, *(OPEN_SIZE if size is None else size for size in spec.shape)),
            _abstract(spec.dtype),
        )
        for spec in graph.inputs
    )
    try:
        with limited_tables():
            jax.eval_shape(applied.apply, {"params": weights}, inputs)
    except ConversionError:
        raise
    except flax.errors.FlaxError as error:
        raise ConversionError(
            f"the weights do not have the shapes that the configuration asks for: {error}"
        ) from None
    except (ValueError, TypeError, IndexError) as error:
        # With open sizes the failure may be that of the stand-in.
        if all(size is not None for spec in graph.inputs for size in spec.shape):
            raise ConversionError(
                f"the model cannot be evaluated on its own input shape: {error}"
            ) from error


def _abstract(dtype: str) -> str:
    return "float32" if "float" in dtype else "int32"
