"""A fit that goes on from another one's state is the one that had not ended, bit for bit."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (200, 1))
Y = np.sin(5 * X) + 0.1 * RANDOM.normal(size=(200, 1))
HELD_OUT = (X[::7] + 0.01, Y[::7])
PIECES = [(X[:90], Y[:90]), (X[90:], Y[90:])]


def network(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params["kernel"] + params["bias"]) @ params["out"]


def start(dtype: str = "float64", width: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {
        "kernel": random.normal(size=(1, width)).astype(dtype),
        "bias": random.normal(size=width).astype(dtype),
        "out": random.normal(size=(width, 1)).astype(dtype),
    }


def fit(params: Any, epochs: int, x: Any = X, y: Any = Y, **options: Any) -> lmjax.FitResult:
    return lmjax.fit(network, params, x, y, epochs=epochs, verbose=0, **options)


def check_the_same(params: Any, first: int, second: int, **options: Any) -> None:
    whole = fit(params, first + second, **options)
    begun = fit(params, first, **options)
    state = pickle.loads(pickle.dumps(begun.state))
    ended = fit(params, second, state=state, **options)
    for name, values in whole.history.items():
        if name != "seconds":
            joined = begun.history[name] + ended.history[name]
            np.testing.assert_array_equal(joined, values, err_msg=name)
    jax.tree.map(np.testing.assert_array_equal, ended.params, whole.params)
    assert ended.status == whole.status
    if ended.best_epoch is not None:
        assert ended.best_epoch + first == whole.best_epoch
    again = fit(params, first + second, state=ended.state, **options)
    more = fit(params, 2 * (first + second), **options)
    jax.tree.map(np.testing.assert_array_equal, again.params, more.params)


SAMPLED = lmjax.LevenbergMarquardt(
    damping=lmjax.Nielsen(initial=1e-2, first_try_limit=1 / 3), halvings=8, curvature_sample=50
)
CASES = {
    "all rows": {},
    "validation": {"validation_data": HELD_OUT},
    "some validation": {"validation_data": HELD_OUT, "validation_freq": 3},
    "batches": {"batch_size": 32},
    "batches validated": {"batch_size": 32, "validation_data": HELD_OUT},
    "ordered batches": {"batch_size": 70, "shuffle": False, "steps_per_epoch": 2},
    "sample": {"solver": SAMPLED},
    "stream": {"x": PIECES, "y": None},
    "stream in batches": {"x": PIECES, "y": None, "batch_size": 45},
    "dual": {"x": X[:8], "y": Y[:8], "l2": 1e-3},
    "sizes": {"l1": 1e-3},
    "bounds": {"bounds": (-2.0, 2.0)},
    "trust region": {"solver": lmjax.LevenbergMarquardt(damping=lmjax.TrustRegion())},
    "callback": {"callbacks": lambda epoch, logs: None},
}
QUICK = ("validation", "batches")


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=() if c in QUICK else pytest.mark.slow) for c in CASES]
)
def test_five_epochs_and_five_more_are_ten(case: str) -> None:
    check_the_same(start(), 5, 5, **CASES[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", ["all rows", "validation", "batches", "sample"])
def test_in_single_precision(case: str) -> None:
    check_the_same(start("float32"), 3, 7, **CASES[case])


@pytest.mark.slow
def test_patience_goes_on_counting() -> None:
    options = {"validation_data": HELD_OUT, "patience": 3}
    whole = fit(start(), 200, **options)
    assert whole.status is lmjax.Status.PATIENCE
    begun = fit(start(), len(whole.history["loss"]) - 2, **options)
    ended = fit(start(), 100, state=begun.state, **options)
    assert ended.status is lmjax.Status.PATIENCE
    assert len(ended.history["loss"]) == 2
    jax.tree.map(np.testing.assert_array_equal, ended.params, whole.params)


@pytest.mark.slow
def test_a_fit_that_has_converged_stays_where_it_is() -> None:
    done = fit(start(), 500, x=X[:3], y=Y[:3])
    assert done.status.success
    again = fit(start(), 5, x=X[:3], y=Y[:3], state=done.state)
    assert again.status == done.status
    assert again.history["loss"] == []
    jax.tree.map(np.testing.assert_array_equal, again.params, done.params)


def test_what_does_not_go_together_is_refused_by_name() -> None:
    state = fit(start(), 1).state
    for options, name in (
        ({"x": X[:50], "y": Y[:50]}, "x, y and sample_weight"),
        ({"params": start(width=4)}, "params"),
        ({"batch_size": 10}, "batch_size"),
        ({"loss": "mae"}, "loss"),
        ({"solver": SAMPLED}, "solver"),
        ({"l2": 0.1}, "l2"),
        ({"validation_data": HELD_OUT}, "validation_data"),
    ):
        given: dict[str, Any] = {"params": start()} | options
        with pytest.raises(ValueError, match=f"state: it is of a fit with another {name}"):
            fit(epochs=1, state=state, **given)
    with pytest.raises(TypeError, match=r"state: expected FitResult\.state"):
        fit(start(), 1, state={"params": 1})
