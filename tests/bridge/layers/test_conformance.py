"""Every registered layer against Keras on TensorFlow, in every configuration of the case tables."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

import bridge
from bridge._src.layers import registry
from bridge._src.layers.activations import FUNCTIONS
from lmjax._src.runtime.precision import scope
from tests.bridge.layers import oracle
from tests.bridge.layers.call_cases import GRAPHS
from tests.bridge.layers.cases import SINGLE, Case
from tests.bridge.layers.image_cases import UNBUILDABLE


def _tables() -> list[dict[str, list[Case]]]:
    """Every table of cases by class that a module named ``…cases.py`` beside this one has."""
    names = ["cases", *sorted(path.stem for path in Path(__file__).parent.glob("*_cases.py"))]
    modules = [vars(import_module(f"tests.bridge.layers.{name}")) for name in names]
    return [value for module in modules for value in module.values() if _is_table(value)]


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and any(
        isinstance(cases, list) and cases and isinstance(cases[0], Case) for cases in value.values()
    )


CASES: dict[str, list[Case]] = {}
for _table in _tables():
    for _class_name, _cases in _table.items():
        CASES[_class_name] = CASES.get(_class_name, []) + _cases

#: Registered classes that appear inside other layers only, or under a second name, and the cases
#: that run them.
INNER = dict.fromkeys(("SimpleRNNCell", "LSTMCell", "GRUCell", "StackedRNNCells"), "RNN")
INNER["GroupedQueryAttention"] = "GroupQueryAttention"
#: Those that hold Python functions: test_keras_calls.py.
FOREIGN = {"FlaxLayer", "JaxLayer"}
#: What Keras 2 makes of functions of TensorFlow in Functional models: test_tensorflow_functions.py.
TENSORFLOW = {"SlicingOpLambda", "TFOpLambda"}

#: Largest relative difference between forward and reverse mode, and between one sample and its
#: batch, in float64.
ROUNDING = 1e-10

#: Tests compile far more than they compute.
FAST_COMPILATION = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def _parameters() -> list[Any]:
    """Of every class all cases; the first one, and the first one under a mask, without waiting for
    the slow tests.
    """
    parameters = []
    for class_name, cases in CASES.items():
        firsts = {next((n for n, case in enumerate(cases) if case.masked == m), 0) for m in (0, 1)}
        for number, case in enumerate(cases):
            words = "-masked" * case.masked + (f"-{case.label}" if case.label else "")
            name = f"{class_name}-{number}{words}"
            marks = () if number in firsts else pytest.mark.slow
            parameters.append(pytest.param(class_name, case, id=name, marks=marks))
    return parameters


def relative_difference(value: Any, reference: Any) -> float:
    """Largest |difference| over the largest |reference|; NaN must stand in the same places."""
    value, reference = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    assert value.shape == reference.shape
    np.testing.assert_array_equal(np.isnan(value), np.isnan(reference))
    if np.isnan(reference).all():
        return 0.0
    return float(
        np.nanmax(np.abs(value - reference))
        / max(np.nanmax(np.abs(reference)), np.finfo(np.float32).tiny)
    )


@pytest.fixture
def model(class_name: str, case: Case) -> Any:
    built = oracle.build(class_name, case, "float32")
    oracle.randomise(built.layers[-1])
    return built


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
@pytest.mark.filterwarnings(
    "ignore:.*does not support masking and will therefore destroy:UserWarning"
)
@pytest.mark.parametrize(("class_name", "case"), _parameters())
def test_layer(class_name: str, case: Case, model: Any) -> None:
    weights, x = model.layers[-1].get_weights(), oracle.sample(case)
    flax = bridge.from_keras(model)
    _check_single(class_name, case, flax, weights, x)
    _check_double(class_name, case, bridge.from_keras(model, "float64"), weights, x)
    check_round_trip(flax, model)
    if case.masked or class_name in ("Embedding", "Masking"):
        _check_mask(model, x)


def _check_single(
    class_name: str, case: Case, flax: Any, weights: list[np.ndarray], x: np.ndarray
) -> None:
    x = x if x.dtype.kind == "i" else x.astype("float32")
    expected, _ = oracle.reference(class_name, case, "float32", weights, x)
    outputs = np.asarray(flax.apply(flax.params, x))
    assert outputs.dtype == np.float32 or expected.dtype.kind == "i"
    assert relative_difference(outputs, expected) <= SINGLE


def _check_double(
    class_name: str, case: Case, flax: Any, weights: list[np.ndarray], x: np.ndarray
) -> None:
    """Values against Keras; forward against reverse mode in params and inputs; a sample alone
    against its batch.
    """
    arguments = (0,) * bool(flax.params) + (1,) * (x.dtype.kind == "f")

    def everything(params: Any, x: jax.Array) -> Any:
        alone = jax.vmap(lambda sample: flax.apply(params, sample[None])[0])(x)
        modes = [
            mode(flax.apply, arguments)(params, x)
            for mode in (jax.jacfwd, jax.jacrev)
            if arguments and case.smooth
        ]
        return flax.apply(params, x), alone, modes

    with scope("float64"):
        traced = jax.jit(everything).trace(flax.params, x)
        outputs, alone, modes = traced.lower().compile(FAST_COMPILATION)(flax.params, x)
    expected, _ = oracle.reference(class_name, case, "float64", weights, x)
    assert outputs.dtype == np.float64 or expected.dtype.kind == "i"
    assert relative_difference(outputs, expected) <= case.double
    assert relative_difference(alone, outputs) <= ROUNDING
    for one, other in zip(*map(jax.tree.leaves, modes or ((), ())), strict=True):
        assert relative_difference(one, other) <= ROUNDING


def check_round_trip(flax: Any, model: Any) -> None:
    """The trainable weights written over zeros are the ones that were converted, bit for bit."""
    originals = [np.array(np.asarray(variable)) for variable in model.trainable_weights]
    for variable in model.trainable_weights:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    bridge.to_keras(flax, model)
    for variable, original in zip(model.trainable_weights, originals, strict=True):
        assert np.asarray(variable).dtype == original.dtype
        assert np.asarray(variable).tobytes() == original.tobytes()


def _check_mask(model: Any, x: np.ndarray) -> None:
    """The mask that leaves the layer is Keras' mask."""
    x = x if x.dtype.kind == "i" else x.astype("float32")
    _, expected = oracle.run(model, x)
    mask = None
    # An optional Masking layer, whose outputs are what it gets, and the layer itself.
    for layer in model.layers:
        mask = oracle.converted(layer).compute_mask(jax.numpy.asarray(x), mask)
    assert (mask is None) == (expected is None)
    if mask is not None:
        np.testing.assert_array_equal(mask, expected)


def test_every_activation_of_keras_converts() -> None:
    from keras.src.activations import ALL_OBJECTS_DICT

    # keras.activations.threshold has no defaults for its arguments and cannot be used by name
    assert set(ALL_OBJECTS_DICT) - set(FUNCTIONS) == {"threshold"}


def test_every_registered_class_has_cases() -> None:
    # Operations are in Functional models.
    layers = {class_name for class_name in registry.supported() if ">" not in class_name}
    assert layers == set(CASES) | set(INNER) | UNBUILDABLE | FOREIGN | TENSORFLOW | (
        set(GRAPHS) - {"Functional"}
    )
    assert all(CASES.get(outer) or GRAPHS[outer] for outer in INNER.values())
    assert not [name for name, cases in CASES.items() if not cases and name != "InputLayer"]
