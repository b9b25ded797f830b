"""The layers as users compile them, with every pass of the compiler, against finite differences;
the other tests compile fast.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

import bridge
from lmjax._src.runtime.precision import scope
from tests.bridge.layers import oracle
from tests.bridge.layers.cases import Case
from tests.bridge.layers.test_conformance import CASES, relative_difference

#: One case of each class, and all of the recurrent ones, whose loops are what compilers get wrong.
CHOSEN = [
    pytest.param(class_name, case, id=f"{class_name}-{number}")
    for class_name, cases in CASES.items()
    for number, case in enumerate(cases)
    if case.smooth
    and case.inputs == "normal"
    and (number == 0 or "RNN" in class_name or class_name in ("LSTM", "GRU", "Bidirectional"))
]
#: Half of the digits of float64, which central differences of the fourth order have; the steps are
#: so short for what nearly has a kink.
_STEP, _DIFFERENCES, _ROUNDING = 1e-4, 1e-7, 1e-10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
@pytest.mark.filterwarnings(
    "ignore:.*does not support masking and will therefore destroy:UserWarning"
)
@pytest.mark.parametrize(("class_name", "case"), CHOSEN)
def test_every_mode_is_that_of_differences(class_name: str, case: Case) -> None:
    model = oracle.build(class_name, case, "float32")
    oracle.randomise(model.layers[-1])
    flax = bridge.from_keras(model, "float64")
    x = oracle.sample(case)
    generator = np.random.default_rng(1)
    point = flax.params, x
    # Steps are masked by inputs of exactly 0: these stay.
    direction = jax.tree.map(
        lambda leaf: (
            generator.normal(size=np.shape(leaf)) * ~(case.masked & (np.asarray(leaf) == 0))
        ),
        point,
    )

    def values(params: Any, x: jax.Array) -> jax.Array:
        return flax.apply(params, x).ravel()

    def along(jacobians: Any) -> jax.Array:
        """The Jacobians times the direction."""
        products = jax.tree.map(
            lambda block, part: jax.numpy.tensordot(block, part, part.ndim), jacobians, direction
        )
        return sum(jax.tree.leaves(products))

    def moved(by: float) -> np.ndarray:
        return np.asarray(run(*jax.tree.map(lambda leaf, part: leaf + by * part, point, direction)))

    with scope("float64"):
        run = jax.jit(values)
        modes = [
            jax.jit(lambda p, x, mode=mode: along(mode(values, (0, 1))(p, x)))(*point)
            for mode in (jax.jacfwd, jax.jacrev)
        ]
        pulled = jax.jit(
            lambda p, x: along(jax.vmap(jax.vjp(values, p, x)[1])(jax.numpy.eye(values(p, x).size)))
        )(*point)
        differences = (
            8 * (moved(_STEP) - moved(-_STEP)) - (moved(2 * _STEP) - moved(-2 * _STEP))
        ) / (12 * _STEP)
    expected, _ = oracle.reference(class_name, case, "float64", model.layers[-1].get_weights(), x)
    assert (
        relative_difference(np.asarray(run_in(run, point)).reshape(expected.shape), expected)
        <= case.double
    )
    for one in (*modes, pulled):
        assert relative_difference(one, modes[0]) <= _ROUNDING
        np.testing.assert_allclose(
            one, differences, atol=_DIFFERENCES * max(np.abs(differences).max(), 1)
        )


def run_in(run: Any, point: Any) -> Any:
    with scope("float64"):
        return run(*point)


@pytest.mark.slow
@pytest.mark.parametrize("units", [5, 7])
@pytest.mark.parametrize(
    "kind", ["LSTM", "GRU", "GRU, reset before", "Bidirectional", "Concatenate"]
)
def test_narrow_layers_of_four_rows_are_right(kind: str, units: int) -> None:
    """Where jaxlib before 0.11.1 computes wrongly what is joined, and derivatives of what is split:
    four rows of five or seven.
    """
    layers = oracle.keras.layers
    inputs = layers.Input((4, 3))
    if kind == "Concatenate":
        wide = [
            layers.Dense(units, activation=name)(inputs) for name in ("tanh", "sigmoid", "softplus")
        ]
        products = [
            layers.Multiply()([layers.Add()([wide[0], wide[1]]), wide[2]]),
            layers.Multiply()(wide[1:]),
        ]
        outputs = layers.Concatenate()(products)
    elif kind == "Bidirectional":
        outputs = layers.Bidirectional(layers.LSTM(units, return_sequences=True))(inputs)
    else:
        options = {"reset_after": False} if "before" in kind else {}
        outputs = getattr(layers, kind.split(",")[0])(units, return_sequences=True, **options)(
            inputs
        )
    flax = bridge.from_keras(oracle.keras.Model(inputs, outputs), "float64")
    x = np.random.default_rng(0).normal(size=(4, 4, 3))

    def values(params: Any) -> jax.Array:
        return flax.apply(params, x)

    with scope("float64"):
        forward, reverse = (jax.jit(mode(values))(flax.params) for mode in (jax.jacfwd, jax.jacrev))
        compiled = jax.jit(values)(flax.params)
        with jax.disable_jit():
            eager = values(flax.params)
    np.testing.assert_allclose(compiled, eager, rtol=1e-10, atol=1e-10)
    for one, other in zip(jax.tree.leaves(forward), jax.tree.leaves(reverse), strict=True):
        np.testing.assert_allclose(one, other, atol=_ROUNDING)
