"""Every function of ``keras.ops`` in Functional models against Keras on TensorFlow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

import bridge
from bridge._src.operations.tables import REFUSED, TABLE
from lmjax._src.runtime.precision import scope
from tests.bridge.layers.cases import DOUBLE, SINGLE
from tests.bridge.layers.operation_cases import GROUPS, INPUTS, WITHOUT_ORACLE
from tests.bridge.layers.oracle import NEWEST
from tests.bridge.layers.test_conformance import FAST_COMPILATION, ROUNDING, relative_difference

IS_NEWEST = tuple(map(int, keras.__version__.split(".")[:2])) >= NEWEST
#: What TensorFlow computes in single precision whatever its inputs are.
IN_SINGLE = frozenset(
    {
        "core.SaturateCast-2",
        "image.Resize-0",
        "image.Resize-2",
        "image.ScaleAndTranslate-0",
        "image.ScaleAndTranslate-1",
        "numpy.Angle-0",
        "numpy.Arctan2-1",
        "numpy.Average-2",
        "numpy.Cbrt-1",
        "numpy.Cos-1",
        "numpy.Geomspace-0",
        "numpy.Log-1",
    }
)


def _classes() -> set[str]:
    """Keras' classes of operations that are no layers: ``numpy.Add``."""

    def below(kind: type) -> Iterator[type]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    found = [
        kind for kind in below(keras.Operation) if kind.__module__.startswith("keras.src.ops.")
    ]
    return {
        f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
        for kind in found
        if kind.__name__ not in ("Function",)
    }


def _cases(group: str) -> dict[str, Callable[..., Any]]:
    """The cases of a group that the installed Keras has, by name and number."""
    classes = _classes()
    return {
        f"{name}-{number}": case
        for name, cases in GROUPS[group].items()
        if name in classes
        for number, case in enumerate(cases)
    }


def _built(group: str, dtype: str) -> tuple[Any, list[np.ndarray]]:
    """A model with an output for every tensor of every case, and its inputs."""
    cases = _cases(group)
    names = [
        name
        for name in INPUTS
        if any(name in inspect.signature(case).parameters for case in cases.values())
    ]
    arrays = [
        INPUTS[name] if INPUTS[name].dtype.kind == "i" else INPUTS[name].astype(dtype)
        for name in names
    ]
    tensors = {
        name: keras.Input(batch_shape=array.shape, dtype=array.dtype.name, name=name)
        for name, array in zip(names, arrays, strict=True)
    }
    outputs = {}
    for label, case in cases.items():
        made = case(*(tensors[name] for name in inspect.signature(case).parameters))
        listed = made if isinstance(made, (list, tuple)) else [made]
        outputs |= {
            f"{label}-{number}" if len(listed) > 1 else label: tensor
            for number, tensor in enumerate(listed)
        }
    return keras.Model(list(tensors.values()), outputs), arrays


def _check(ours: Any, theirs: Any, tolerances: Callable[[str], float]) -> None:
    """All that differ are named at once."""
    wrong = {}
    for label, reference in theirs.items():
        value = np.asarray(ours[label])
        try:
            assert value.dtype.kind == reference.dtype.kind, f"{value.dtype} for {reference.dtype}"
            difference = relative_difference(value, reference)
            assert difference <= tolerances(label), difference
        except AssertionError as error:
            wrong[label] = str(error)[:300]
    assert not wrong, wrong


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
@pytest.mark.parametrize("group", GROUPS)
def test_operations(group: str, tmp_path: Any) -> None:
    model, arrays = _built(group, "float32")
    held = {
        f"{type(one).__module__.rpartition('.')[2]}.{type(one).__name__}"
        for one in model.operations
    }
    assert {label.rpartition("-")[0] for label in _cases(group)} <= held, (
        "a case does not hold its operation"
    )
    converted = bridge.from_keras(model)
    single = converted(converted.params, arrays)
    _check(
        single,
        {label: np.asarray(value) for label, value in model(arrays).items()},
        lambda label: SINGLE,
    )
    double, arrays = _built(group, "float64")
    expected = {label: np.asarray(value) for label, value in double(arrays).items()}
    flax = bridge.from_keras(double, "float64")
    _check_double(flax, arrays, expected)


def _check_double(flax: Any, arrays: list[np.ndarray], expected: dict[str, np.ndarray]) -> None:
    floating = [
        number
        for number, array in enumerate(arrays)
        if array.dtype.kind == "f" and not np.isnan(array).any()
    ]

    def smooth(*chosen: Any) -> Any:
        given = list(arrays)
        for number, array in zip(floating, chosen, strict=True):
            given[number] = array
        return {
            label: value
            for label, value in flax.apply(flax.params, given).items()
            if np.issubdtype(value.dtype, np.floating)
        }

    def everything(*given: Any) -> Any:
        chosen = [given[number] for number in floating]
        arguments = tuple(range(len(chosen)))
        stacked = [jax.numpy.stack([array, array[::-1]]) for array in given]
        modes = [mode(smooth, arguments)(*chosen) for mode in (jax.jacfwd, jax.jacrev)]
        turned = flax.apply(flax.params, [array[::-1] for array in given])
        return (
            flax.apply(flax.params, list(given)),
            turned,
            jax.vmap(lambda *one: flax.apply(flax.params, list(one)))(*stacked),
            modes,
        )

    with scope("float64"):
        outputs, turned, both, modes = (
            jax.jit(everything).trace(*arrays).lower().compile(FAST_COMPILATION)(*arrays)
        )
    _check(outputs, expected, lambda label: SINGLE if label in IN_SINGLE else DOUBLE)
    _check({label: value[0] for label, value in both.items()}, outputs, lambda label: ROUNDING)
    _check({label: value[1] for label, value in both.items()}, turned, lambda label: ROUNDING)
    forward, reverse = (
        {
            f"{label}-{number}": one
            for label, parts in mode.items()
            for number, one in enumerate(parts)
        }
        for mode in modes
    )
    _check(
        forward,
        {label: np.asarray(value) for label, value in reverse.items()},
        lambda label: ROUNDING,
    )


def test_every_operation_of_keras_is_served_or_refused() -> None:
    missing = _classes() - set(TABLE) - set(REFUSED)
    assert not missing, (
        "new in this Keras: enter a function into bridge/operations, or refuse it with a reason"
    )


def test_every_function_has_cases() -> None:
    cased = {name for cases in GROUPS.values() for name in cases}
    assert cased | WITHOUT_ORACLE == set(TABLE)
    if IS_NEWEST:
        assert set(TABLE) <= _classes()


def test_what_keras_cannot_run_on_tensorflow() -> None:
    pairs = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    found = TABLE["math.ViewAsComplex"](x=jax.numpy.asarray(pairs))
    np.testing.assert_array_equal(found, pairs[:, 0] + 1j * pairs[:, 1])
    numbers = np.random.default_rng(0).normal(size=50).astype(np.float32)
    for bins, limits in ((4, None), (3, (-1.0, 1.0))):
        counts, edges = TABLE["numpy.Histogram"](
            x=jax.numpy.asarray(numbers), bins=bins, range=limits
        )
        expected = np.histogram(numbers, bins, limits)
        np.testing.assert_array_equal(counts, expected[0])
        np.testing.assert_allclose(edges, expected[1], rtol=1e-6)
    images, kernel = (
        np.random.default_rng(0).normal(size=size).astype(np.float32)
        for size in ((2, 5, 4, 3), (3, 2, 5, 3))
    )
    for options in (
        {"strides": 2},
        {"strides": (2, 2), "padding": "same"},
        {"output_padding": 1, "strides": 2},
    ):
        outputs = TABLE["nn.ConvTranspose"](
            inputs=jax.numpy.asarray(images), kernel=jax.numpy.asarray(kernel), **options
        )
        assert (
            relative_difference(
                outputs,
                keras.ops.conv_transpose(images, kernel, data_format="channels_last", **options),
            )
            < SINGLE
        )
