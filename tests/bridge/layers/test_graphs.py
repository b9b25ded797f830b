"""Layers with several inputs or outputs, in Functional models, against Keras on TensorFlow."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

import bridge
from lmjax._src.runtime.precision import scope
from tests.bridge.layers import oracle
from tests.bridge.layers.call_cases import GRAPHS
from tests.bridge.layers.cases import SINGLE
from tests.bridge.layers.graph_cases import Graph
from tests.bridge.layers.test_conformance import (
    FAST_COMPILATION,
    ROUNDING,
    check_round_trip,
    relative_difference,
)

BATCH = 3


def _parameters() -> list[Any]:
    """Of every class the first graph without waiting for the slow tests."""
    return [
        pytest.param(
            graph,
            id=f"{name}-{number}-{graph.label}",
            marks=pytest.mark.slow if number else (),
        )
        for name, graphs in GRAPHS.items()
        for number, graph in enumerate(graphs)
    ]


def _sample(model: Any) -> list[np.ndarray]:
    """Gaussian inputs; some steps of the sequences are 0, and all steps of the last sample's."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(BATCH, *tensor.shape[1:])) for tensor in model.inputs]
    for array in arrays:
        if array.ndim == 3:
            array[0, -2:] = 0
            array[1, 0] = 0
            array[2] = 0
    return arrays


def _outputs(model: Any, arrays: list[np.ndarray], dtype: str) -> Any:
    tensors = [keras.ops.convert_to_tensor(array.astype(dtype)) for array in arrays]
    return jax.tree.map(np.asarray, model(tensors[0] if len(tensors) == 1 else tensors))


def _agree(ours: Any, theirs: Any, tolerance: float) -> None:
    ours, theirs = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(ours) == len(theirs)
    for value, reference in zip(ours, theirs, strict=True):
        assert relative_difference(value, reference) <= tolerance


@pytest.mark.filterwarnings(
    "ignore:.*does not support masking and will therefore destroy:UserWarning"
)
@pytest.mark.parametrize("graph", _parameters())
def test_graph(graph: Graph, tmp_path: Any) -> None:
    with oracle.skipped_where_keras_is_too_old():
        model = graph.build(keras)
    oracle.randomise(model)
    arrays = _sample(model)
    flax = bridge.from_keras(model)
    singles = [array.astype("float32") for array in arrays]
    single = flax(flax.params, singles)
    _agree(single, _outputs(model, arrays, "float32"), SINGLE)
    model.save(tmp_path / "model.keras")
    saved = bridge.from_keras(tmp_path / "model.keras")
    assert [entry.path for entry in saved.table] == [entry.path for entry in flax.table]
    _agree(saved(saved.params, singles), single, 0.0)
    with oracle.policy("float64"):
        double = graph.build(keras)
    double.set_weights(model.get_weights())
    _check_double(
        bridge.from_keras(model, "float64"),
        arrays,
        _outputs(double, arrays, "float64"),
        graph.double,
    )
    check_round_trip(flax, model)


def _check_double(flax: Any, arrays: list[np.ndarray], expected: Any, tolerance: float) -> None:
    arguments = (0,) * bool(flax.params) + (1,)

    def everything(params: Any, arrays: Any) -> Any:
        alone = jax.vmap(
            lambda sample: jax.tree.map(
                lambda y: y[0], flax.apply(params, [one[None] for one in sample])
            )
        )(arrays)
        return (
            flax.apply(params, arrays),
            alone,
            [mode(flax.apply, arguments)(params, arrays) for mode in (jax.jacfwd, jax.jacrev)],
        )

    with scope("float64"):
        outputs, alone, modes = (
            jax.jit(everything)
            .trace(flax.params, arrays)
            .lower()
            .compile(FAST_COMPILATION)(flax.params, arrays)
        )
    _agree(outputs, expected, tolerance)
    _agree(alone, outputs, ROUNDING)
    # Together, since some derivatives are 0 up to rounding (attention does not depend on the bias
    # of its keys).
    forward, reverse = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(mode)]) for mode in modes
    )
    assert relative_difference(forward, reverse) <= ROUNDING
