"""What a KerasLayer says of itself is all that counts: a layer that passes every documented member
on to the converted one gives bit for bit the same model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

import bridge
from bridge._src.layers import registry
from tests.bridge.layers import oracle
from tests.bridge.layers.cases import Case
from tests.bridge.layers.test_conformance import CASES

#: One of each kind of what a layer may have: weights, weights that are not trained, a mask, inner
#: layers, indices.
FAST = ("Dense", "BatchNormalization", "LSTM", "Masking", "TimeDistributed", "Embedding")


class Delegate(bridge.layers.KerasLayer):
    """Passes on to a layer, whose parameters are its own."""

    inner: bridge.layers.KerasLayer

    def setup(self) -> None:
        nn.share_scope(self, self.inner)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.inner(*inputs, **options)


def _passed_on(name: str) -> Any:
    def method(self: Any, *args: Any) -> Any:
        return getattr(self.inner, name)(*args)

    return method


def _members() -> Iterator[tuple[str, Any]]:
    for name, member in vars(bridge.layers.KerasLayer).items():
        if name in ("arguments", "config_names"):
            yield name, property(lambda self, name=name: getattr(self.inner, name))
        elif (
            not name.startswith("_") and getattr(member, "__qualname__", "") == f"KerasLayer.{name}"
        ):
            yield name, _passed_on(name)


for _name, _member in list(_members()):
    setattr(Delegate, _name, _member)


def everything(flax: bridge.FlaxModel, x: np.ndarray) -> list[bytes]:
    """Parameters by path, and the outputs."""
    leaves = jax.tree_util.tree_leaves_with_path((flax.params, flax.state))
    outputs = jax.tree.leaves(flax.apply(flax.params, x))
    return [
        *(f"{path}{np.asarray(leaf).tobytes()!r}".encode() for path, leaf in leaves),
        *(np.asarray(output).tobytes() for output in outputs),
    ]


def compare(class_name: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    model = oracle.build(class_name, case, "float32")
    oracle.randomise(model.layers[-1])
    x = oracle.sample(case)
    x = x if x.dtype.kind == "i" else x.astype("float32")
    expected = everything(bridge.from_keras(model), x)
    converter, made = registry.find(class_name), []

    def delegating(config: bridge.layers.LayerConfig) -> Delegate:
        made.append(Delegate(inner=converter(config)))
        return made[-1]

    monkeypatch.setitem(registry._CONVERTERS, class_name, delegating)
    assert everything(bridge.from_keras(model), x) == expected
    assert made


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
@pytest.mark.filterwarnings(
    "ignore:.*does not support masking and will therefore destroy:UserWarning"
)
@pytest.mark.parametrize(
    "class_name",
    [
        pytest.param(name, marks=[] if name in FAST else pytest.mark.slow)
        for name, cases in CASES.items()
        if cases
    ],
)
def test_a_delegate_of_a_layer(class_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(class_name, CASES[class_name][0], monkeypatch)
