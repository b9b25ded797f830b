"""Keras on TensorFlow as the oracle of the layer tests, and the conversion of a single built
layer.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pytest

import bridge._src.module.shipped  # noqa: F401  registers the converters
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.nested import convert
from tests.bridge.layers.cases import FIRST, Case

BATCH = 3
#: The Keras that the case tables were written for.
NEWEST = (3, 15)


@contextlib.contextmanager
def policy(dtype: str) -> Iterator[None]:
    """Keras layers made inside compute in ``dtype``."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def sample(case: Case, seed: int = 0) -> np.ndarray:
    """Inputs (BATCH, *case.shape) in float64, or integers."""
    rng = np.random.default_rng(seed)
    shape = (BATCH, *case.shape)
    if case.inputs in ("tokens", "pixels"):
        return rng.integers(0, 5 if case.inputs == "tokens" else 256, shape).astype(np.int32)
    x = rng.normal(size=shape)
    if case.inputs == "rows":
        x[0, 0] = 0
        x[1, 1] *= 1e-9
    if case.masked:
        x[0, -2:] = 0
        x[1, 0] = 0
        x[1, 2:3] = 0
    return x


def skip_unknown(class_name: str, options: Mapping[str, Any]) -> None:
    """Skips the test where an older Keras has no such class or option; the newest that is supported
    has all of them.
    """
    if tuple(map(int, keras.__version__.split(".")[:2])) >= NEWEST:
        return
    layer = getattr(keras.layers, class_name, None)
    known = {"name", "dtype"} | (
        set() if layer is None else {name for kind in layer.__mro__ for name in _parameters(kind)}
    )
    missing = sorted(set(options) - known)
    if layer is None or missing:
        pytest.skip(
            f"Keras {keras.__version__} has no "
            f"{class_name}{f' with {missing}' if layer is not None else ''}"
        )


#: What an older Keras says of options that it does not serve yet.
_NOT_YET = re.compile(
    "Unrecognized keyword arguments.*|`strides > 1` not supported in conjunction with.*"
)


@contextlib.contextmanager
def skipped_where_keras_is_too_old() -> Iterator[None]:
    """Skips the test where an older Keras refuses options in the block; the newest that is
    supported takes all of them.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        reason = _NOT_YET.search(str(error))
        if reason is None or tuple(map(int, keras.__version__.split(".")[:2])) >= NEWEST:
            raise
        pytest.skip(f"Keras {keras.__version__}: {reason[0]}")


def _parameters(kind: type) -> Iterable[str]:
    return inspect.signature(kind.__init__).parameters if "__init__" in vars(kind) else ()


def build(class_name: str, case: Case, dtype: str) -> keras.Sequential:
    """A Sequential with the layer of ``case``, called once so that late weights exist."""
    skip_unknown(class_name, case.options)
    inputs = "int32" if case.inputs in ("tokens", "pixels") else dtype
    options = copy.deepcopy(dict(case.options))  # Keras takes the configs of inner layers apart
    with policy(dtype), skipped_where_keras_is_too_old():
        layer = keras.layers.deserialize(
            {
                "module": "keras.layers",
                "class_name": class_name,
                "config": {**options, "name": "layer"},
                "registered_name": None,
            }
        )
        front = [keras.layers.Masking()] if case.masked else []
        model = keras.Sequential([keras.Input(case.shape, dtype=inputs), *front, layer])
    if not all(inner.built for inner in model._flatten_layers()):
        model(np.zeros((1, *case.shape), inputs))
    return model


def randomise(layer: keras.layers.Layer, seed: int = 0) -> None:
    """Random weights in place of the initial ones, positive where they are variances."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        if "int" in variable.dtype:
            variable.assign(rng.integers(0, 9, variable.shape))
        elif "variance" in variable.name or "stddev" in variable.name:
            variable.assign(rng.uniform(0.3, 2.0, variable.shape))
        else:
            variable.assign(rng.normal(scale=0.5, size=variable.shape))


def assign(layer: keras.layers.Layer, weights: list[np.ndarray]) -> None:
    """``layer.set_weights``, and what Normalization derives from its weights."""
    layer.set_weights(weights)
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()


def run(model: keras.Sequential, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Outputs and outgoing mask of ``model``."""
    y = keras.ops.convert_to_tensor(x)
    for layer in model.layers:
        # Augmentation layers train unless they are told not to.
        y = layer(
            y,
            **(
                {"training": False}
                if "training" in inspect.signature(layer.call).parameters
                else {}
            ),
        )
    mask = getattr(y, "_keras_mask", None)
    return np.asarray(y), None if mask is None else np.asarray(mask)


def reference(
    class_name: str, case: Case, dtype: str, weights: list[np.ndarray], x: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """What Keras computes in ``dtype`` with these weights."""
    if dtype == "float64" and class_name == "MelSpectrogram":  # Keras on TensorFlow fails there
        return reference(class_name, case, "float32", weights, x.astype("float32"))
    if dtype == "float64" and class_name.startswith("Adaptive") and class_name.endswith("3D"):
        return _adapted_in_two_steps(class_name.removesuffix("3D"), case, x), None
    if dtype == "float64" and class_name in ("MaxPooling3D", "AveragePooling3D"):
        return _pooled_in_two_steps(class_name.removesuffix("3D"), case, x), None
    options = dict(case.options)
    if case.turned:
        options["data_format"] = "channels_last"
        x = np.moveaxis(x, 1, -1)
    if case.stuffed:
        rates = np.broadcast_to(options.pop("dilation_rate"), weights[0].ndim - 2)
        weights = [_stuffed(weights[0], rates), *weights[1:]]
        options["kernel_size"] = weights[0].shape[:-2]
    model = build(class_name, case._replace(options=options, shape=x.shape[1:]), dtype)
    assign(model.layers[-1], weights)
    outputs, mask = run(model, x)
    return (np.moveaxis(outputs, -1, 1) if case.turned else outputs), mask


def _stuffed(kernel: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """``kernel`` with ``rate - 1`` zeros between its entries along each spatial axis."""
    sizes = [(size - 1) * rate + 1 for size, rate in zip(kernel.shape, rates, strict=False)]
    wide = np.zeros((*sizes, *kernel.shape[-2:]), kernel.dtype)
    wide[tuple(slice(None, None, rate) for rate in rates)] = kernel
    return wide


def _pooled_in_two_steps(kind: str, case: Case, x: np.ndarray) -> np.ndarray:
    """3D pooling as Keras' 2D pooling of (height, width), then 1D pooling of depth: TensorFlow has
    it only in float32.
    """
    window = np.broadcast_to(case.options["pool_size"], 3).tolist()
    strides = np.broadcast_to(case.options.get("strides", window), 3).tolist()
    first = case.options.get("data_format") == FIRST
    x = np.moveaxis(x, 1, -1) if first else x
    padding = case.options.get("padding", "valid")
    with policy("float64"):
        plane = getattr(keras.layers, f"{kind}2D")(window[1:], strides[1:], padding)
        line = getattr(keras.layers, f"{kind}1D")(window[0], strides[0], padding)
    pooled = _plane_then_line(plane, line, x)
    return np.moveaxis(pooled, -1, 1) if first else pooled


def _adapted_in_two_steps(kind: str, case: Case, x: np.ndarray) -> np.ndarray:
    """The same for adaptive pooling."""
    depth, *rest = case.options["output_size"]
    first = case.options.get("data_format") == FIRST
    with policy("float64"):
        plane, line = (
            getattr(keras.layers, f"{kind}2D")(tuple(rest)),
            getattr(keras.layers, f"{kind}1D")(depth),
        )
    pooled = _plane_then_line(plane, line, np.moveaxis(x, 1, -1) if first else x)
    return np.moveaxis(pooled, -1, 1) if first else pooled


def _plane_then_line(plane: Any, line: Any, x: np.ndarray) -> np.ndarray:
    """``plane`` over height and width, then ``line`` over depth, of (batch, depth, height, width,
    channels).
    """
    batch, depth, *rest = x.shape
    x = np.asarray(plane(x.reshape(batch * depth, *rest)))
    _, height, width, channels = x.shape
    columns = (
        x.reshape(batch, depth, height, width, channels)
        .transpose(0, 2, 3, 1, 4)
        .reshape(-1, depth, channels)
    )
    return (
        np.asarray(line(columns))
        .reshape(batch, height, width, -1, channels)
        .transpose(0, 3, 1, 2, 4)
    )


def params_of(module: KerasLayer, layer: Any, dtype: str) -> dict[str, Any]:
    """The nested params of ``module`` from the variables of the Keras layer that it was converted
    from.
    """
    params = {}
    for weight in module.weights():
        if not weight.alias:
            value = np.asarray(getattr(layer, weight.name).value)
            params[weight.name] = value.astype(dtype) if value.dtype.kind == "f" else value
    return params | {
        name: nested
        for name, child in module.children().items()
        if (nested := params_of(child, getattr(layer, name), dtype))
    }


def converted(layer: Any) -> KerasLayer:
    """The module for a live Keras layer, from its config alone."""
    return convert(keras.saving.serialize_keras_object(layer))
