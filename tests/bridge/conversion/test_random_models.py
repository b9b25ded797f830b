"""Random architectures with random options agree with Keras on TensorFlow, in float64.

A failure shrinks to a small model, whose layers are printed.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, reject, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

import bridge
from lmjax._src.runtime.precision import scope
from tests.bridge.conversion import random_models
from tests.bridge.layers import oracle
from tests.bridge.layers.test_conformance import FAST_COMPILATION, relative_difference

#: Models of each kind in the slow test, 360 in all, and in the fast one.
MANY, FEW = 60, 4
#: Largest |difference| / largest |output| in float64; deep models multiply the rounding of their
#: layers.
TOLERANCE = 1e-9

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*does not support masking and will therefore destroy:UserWarning"
    ),
    pytest.mark.filterwarnings("ignore:.*using a softmax over axis:UserWarning"),
]
_kinds = pytest.mark.parametrize("kind", list(random_models.KINDS))
_OPTIONS: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.slow
@_kinds
@settings(max_examples=MANY, **_OPTIONS)
@given(data=st.data())
def test_many_random_models(kind: str, data: Any) -> None:
    _agrees(kind, data.draw)


@pytest.mark.slow
@_kinds
@settings(max_examples=FEW, **_OPTIONS)
@given(data=st.data())
def test_random_models(kind: str, data: Any) -> None:
    _agrees(kind, data.draw)


def _agrees(kind: str, draw: random_models.Draw) -> None:
    with oracle.policy("float64"):
        model = random_models.draw_model(draw, kind)
        note(random_models.describe(model))
        oracle.randomise(model)
        x = random_models.sample(model)
        try:
            expected = jax.tree.map(np.asarray, model(x[0] if len(x) == 1 else x, training=False))
        except ValueError as error:
            # Keras builds a Softmax on masked sequences, but cannot run it.
            if "must be broadcastable to `inputs`" in str(error):
                reject()
            raise
    flax = bridge.from_keras(model)
    with scope("float64"):
        outputs = (
            jax.jit(flax.apply)
            .trace(flax.params, x)
            .lower()
            .compile(FAST_COMPILATION)(flax.params, x)
        )
    for ours, theirs in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True):
        assert relative_difference(ours, theirs) <= TOLERANCE
