"""The layers as users compile them, with every pass of the compiler, against finite differences; the other tests compile fast."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

import bridge
from lmjax.precision import scope
from tests.bridge.layers import oracle
from tests.bridge.layers.cases import Case
from tests.bridge.layers.test_conformance import CASES, relative_difference

#: One case of each class, and all of the recurrent ones, whose loops are what compilers get wrong.
CHOSEN = [
    pytest.param(class_name, case, id=f"{class_name}-{number}")
    for class_name, cases in CASES.items()
    for number, case in enumerate(cases)
    if case.smooth and case.inputs == "normal" and (number == 0 or "RNN" in class_name or class_name in ("LSTM", "GRU", "Bidirectional"))
]
#: Half of the digits of float64, which central differences of the fourth order have; the steps are so short for what nearly has a kink.
_STEP, _DIFFERENCES, _ROUNDING = 1e-4, 1e-7, 1e-10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:.*does not support masking and will therefore destroy:UserWarning")
@pytest.mark.parametrize(("class_name", "case"), CHOSEN)
def test_every_mode_is_that_of_differences(class_name: str, case: Case) -> None:
    model = oracle.build(class_name, case, "float32")
    oracle.randomise(model.layers[-1])
    flax = bridge.from_keras(model, "float64")
    x = oracle.sample(case)
    generator = np.random.default_rng(1)
    point = flax.params, x
    # Steps are masked by inputs of exactly 0: these stay.
    direction = jax.tree.map(lambda leaf: generator.normal(size=np.shape(leaf)) * ~(case.masked & (np.asarray(leaf) == 0)), point)

    def values(params: Any, x: jax.Array) -> jax.Array:
        return flax.apply(params, x).ravel()

    def along(jacobians: Any) -> jax.Array:
        """The Jacobians times the direction."""
        products = jax.tree.map(lambda block, part: jax.numpy.tensordot(block, part, part.ndim), jacobians, direction)
        return sum(jax.tree.leaves(products))

    def moved(by: float) -> np.ndarray:
        return np.asarray(run(*jax.tree.map(lambda leaf, part: leaf + by * part, point, direction)))

    with scope("float64"):
        run = jax.jit(values)
        modes = [jax.jit(lambda p, x, mode=mode: along(mode(values, (0, 1))(p, x)))(*point) for mode in (jax.jacfwd, jax.jacrev)]
        pulled = jax.jit(lambda p, x: along(jax.vmap(jax.vjp(values, p, x)[1])(jax.numpy.eye(values(p, x).size))))(*point)
        differences = (8 * (moved(_STEP) - moved(-_STEP)) - (moved(2 * _STEP) - moved(-2 * _STEP))) / (12 * _STEP)
    expected, _ = oracle.reference(class_name, case, "float64", model.layers[-1].get_weights(), x)
    assert relative_difference(np.asarray(run_in(run, point)).reshape(expected.shape), expected) <= case.double
    for one in (*modes, pulled):
        assert relative_difference(one, modes[0]) <= _ROUNDING
        np.testing.assert_allclose(one, differences, atol=_DIFFERENCES * max(np.abs(differences).max(), 1))


def run_in(run: Any, point: Any) -> Any:
    with scope("float64"):
        return run(*point)
