"""Fits from several starts, of which the best counts, and rounds of Adam between epochs."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.runtime import interrupts
from lmjax._src.training.epochs import race

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (80, 1))
Y = np.sin(5 * X) + 0.1 * RANDOM.normal(size=(80, 1))
HELD_OUT = (X[::5] + 0.01, Y[::5])
PIECES = [(X[:30], Y[:30]), (X[30:], Y[30:])]


def network(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params["kernel"] + params["bias"]) @ params["out"]


def positive(params: Any, x: jax.Array) -> jax.Array:
    return jnp.exp(network(params, x))


def starts(dtype: str = "float64", count: int = 4, width: int = 5) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    return [
        {
            "kernel": random.normal(size=(1, width)).astype(dtype),
            "bias": random.normal(size=width).astype(dtype),
            "out": random.normal(size=(width, 1)).astype(dtype),
        }
        for _ in range(count)
    ]


def fit(
    params: list[Any],
    x: Any = X,
    y: Any = Y,
    epochs: int = 12,
    model: Any = network,
    **options: Any,
) -> Any:
    first, *others = params
    return lmjax.fit(model, first, x, y, epochs=epochs, restarts=others, verbose=0, **options)


DTYPES = ("float64", "float32")
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "validation": {"validation_data": HELD_OUT},
    "patience": {"validation_data": HELD_OUT, "patience": 1},
    "the last epoch": {"restore": "last", "validation_data": HELD_OUT},
    "every third validation": {"validation_data": HELD_OUT, "validation_freq": 3},
    "penalties": {"l2": 1e-3, "l1": 1e-3},
    "bounds": {"bounds": (-1.0, 1.0)},
    "a loss with an offset": {"loss": "poisson", "y": np.exp(Y), "model": positive},
    # Rounding decides when the search for a λ of the radius ends, from the fifth epoch on.
    "a trust region": {
        "solver": lmjax.LevenbergMarquardt(damping=lmjax.TrustRegion()),
        "epochs": 4,
    },
    "more parameters than rows": {"x": X[:9], "y": Y[:9]},
    "gradient": {"min_grad": 1e-2},
}


#: The cases that `make test` compiles; each takes some seconds.
QUICK = ("validation", "more parameters than rows")


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(
            *each, marks=() if each in zip(QUICK, DTYPES, strict=True) else pytest.mark.slow
        )
        for each in itertools.product(CASES, DTYPES)
    ],
)
def test_each_start_does_side_by_side_what_it_does_alone(case: str, dtype: str) -> None:
    check_like_single_fits(CASES[case], dtype)


@pytest.mark.parametrize(
    "case",
    [
        {"batch_size": 16, "validation_data": HELD_OUT},
        {"x": PIECES, "y": None},
        {"warm_up": 3, "warm_up_every": 4},
    ],
    ids=["batches", "a stream", "Adam between"],
)
def test_each_start_does_in_its_turn_what_it_does_alone(case: dict[str, Any]) -> None:
    check_like_single_fits(case, "float64", exact=True)


def check_like_single_fits(case: dict[str, Any], dtype: str, exact: bool = False) -> None:
    """Against fits from one start each."""
    case = dict(case)
    data = [case.pop("x", X), case.pop("y", Y)]
    if isinstance(data[0], np.ndarray):
        data = [array.astype(dtype) for array in data]
    points = starts(dtype)
    alone = [fit([point], *data, **case) for point in points]
    result = fit(points, *data, **case)
    # Rounding is another side by side, and a dozen steps let it grow.
    tolerance = 0 if exact else {"float64": 1e-5, "float32": 2e-2}[dtype]
    by_validation = "validation_data" in case and case.get("restore") != "last"
    last = case.get("restore") == "last"
    for end, one in zip(result.restarts, alone, strict=True):
        losses = one.history["loss"]
        loss = losses[-1] if last else min([one.start["loss"], *losses])
        np.testing.assert_allclose(end.loss, loss, rtol=tolerance)
        if by_validation:
            least = min([one.start["val_loss"], *one.history["val_loss"]])
            np.testing.assert_allclose(end.val_loss, least, rtol=tolerance)
        if dtype == "float64":
            assert end.status == one.status
            assert end.epochs == len(losses)
    ranks = [end.val_loss if by_validation else end.loss for end in result.restarts]
    assert result.best_start == int(np.argmin(ranks))
    best = alone[result.best_start]
    if dtype == "float64":
        assert result.status == best.status
        assert result.best_epoch == best.best_epoch
        assert result.start == pytest.approx(best.start, rel=1e-12)
        assert result.history.keys() == best.history.keys()
        np.testing.assert_allclose(result.history["loss"], best.history["loss"], rtol=tolerance)
        leaves = zip(jax.tree.leaves(result.params), jax.tree.leaves(best.params), strict=True)
        for found, wanted in leaves:
            np.testing.assert_allclose(found, wanted, rtol=1e2 * tolerance, atol=1e2 * tolerance)
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(result.params))


def test_the_single_start_of_all_is_a_fit_without_restarts() -> None:
    result = fit(starts(count=1))
    assert (result.restarts, result.best_start) == ([], 0)


def test_callbacks_hear_of_the_best_alone() -> None:
    heard: list[float] = []
    result = fit(starts(), callbacks=lambda epoch, logs: heard.append(logs["loss"]))
    assert heard == result.history["loss"]
    assert len(result.restarts) == 4
    alone = fit([starts()[result.best_start]])
    assert heard == alone.history["loss"]
    assert min(heard) == result.restarts[result.best_start].loss


def test_the_first_to_reach_the_goal_ends_all() -> None:
    points = starts()
    reached = [fit([point], epochs=40, goal=0.0105) for point in points]
    assert any(one.status == lmjax.Status.GOAL for one in reached)
    result = fit(points, epochs=40, goal=0.0105)
    assert result.status == lmjax.Status.GOAL
    assert result.history["loss"][-1] <= 0.0105
    assert {end.status for end in result.restarts} <= {lmjax.Status.GOAL, lmjax.Status.RUNNING}
    callbacks = fit(points, epochs=40, goal=0.0105, callbacks=lambda *_: None)
    assert callbacks.status == lmjax.Status.GOAL


@pytest.mark.parametrize("options", [{}, {"batch_size": 16}], ids=["side by side", "in turn"])
def test_time_ends_them_with_what_there_is(options: dict[str, Any]) -> None:
    result = fit(starts(count=3), epochs=10**6, max_seconds=0.3, **options)
    assert result.status == lmjax.Status.TIME
    assert len(result.restarts) == 3
    assert min(end.loss for end in result.restarts) == min(result.history["loss"])


@pytest.mark.parametrize("options", [{}, {"batch_size": 16}], ids=["side by side", "in turn"])
def test_ctrl_c_keeps_the_best_so_far(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def check() -> None:
        if next(calls) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(interrupts, "check", check)
    result = fit(starts(), epochs=10**6, max_seconds=20.0, **options)
    assert result.history["loss"][-1] < result.start["loss"]
    assert result.restarts
    assert any(end.status == lmjax.Status.INTERRUPTED for end in result.restarts) or not options


def test_it_goes_on_from_the_best() -> None:
    begun = fit(starts(), epochs=5)
    ended = lmjax.fit(network, starts()[0], X, Y, epochs=7, verbose=0, state=begun.state)
    whole = fit([starts()[begun.best_start]], epochs=12)
    joined = begun.history["loss"] + ended.history["loss"]
    np.testing.assert_allclose(joined, whole.history["loss"], rtol=1e-8)


def test_a_start_that_is_no_number_loses() -> None:
    points = starts(count=3)
    points[0]["out"][:] = np.nan
    for options in ({}, {"batch_size": 16}):
        result = fit(points, **options)
        assert result.best_start in (1, 2)
        assert np.isfinite(result.history["loss"]).all()
    assert fit(points, X, Y, callbacks=lambda *_: None).best_start in (1, 2)


def test_a_second_call_compiles_nothing(caplog: pytest.LogCaptureFixture) -> None:
    fit(starts(), epochs=3)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        fit(starts(count=4)[::-1], epochs=5)
    assert "run_all" not in caplog.text


def test_many_small_starts_go_side_by_side_and_large_ones_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    went: list[str] = []
    for name in ("_side_by_side", "_in_turn"):
        whole = getattr(race, name)

        def noted(*args: Any, name: str = name, whole: Any = whole) -> None:
            went.append(name)
            whole(*args)

        monkeypatch.setattr(race, name, noted)
    fit(starts(), epochs=1)
    fit(starts(width=60), np.tile(X, (20, 1)), np.tile(Y, (20, 1)), epochs=1)
    assert went == ["_side_by_side", "_in_turn"]


def test_what_is_no_start_is_refused() -> None:
    good, other = starts(count=2)
    with pytest.raises(ValueError, match="restarts: number 0 is not structured"):
        fit([good, {**other, "out": np.zeros((4, 1))}])
    with pytest.raises(ValueError, match="restarts: number 0 is not structured"):
        fit([good, {"kernel": other["kernel"]}])
    with pytest.raises(TypeError, match="restarts: expected a list"):
        lmjax.fit(network, good, X, Y, restarts=3, verbose=0)  # type: ignore[arg-type]
    state = fit([good], epochs=1).state
    with pytest.raises(ValueError, match="restarts: a fit that goes on"):
        fit([good, other], state=state)


def test_rounds_of_adam_come_after_every_so_many_epochs() -> None:
    rounds = {"warm_up": 5, "warm_up_every": 3}
    whole = fit(starts(count=1), epochs=8, **rounds)
    assert np.all(np.diff([whole.start["loss"], *whole.history["loss"]]) < 0)
    plain = fit(starts(count=1), epochs=8, warm_up=5)
    assert whole.history["loss"][:3] == plain.history["loss"][:3]
    assert whole.history["loss"][3] != plain.history["loss"][3]
    begun = fit(starts(count=1), epochs=3, **rounds)
    ended = fit(starts(count=1), epochs=5, state=begun.state, **rounds)
    assert begun.history["loss"] + ended.history["loss"] == whole.history["loss"]
    for options in ({"batch_size": 16}, {"validation_data": HELD_OUT, "restore": "training"}):
        found = fit(starts(count=1), epochs=8, **rounds, **options)
        assert len(found.history["loss"]) == 8
    streamed = fit(starts(count=1), PIECES, None, epochs=8, **rounds)
    np.testing.assert_allclose(streamed.history["loss"], whole.history["loss"], rtol=1e-6)


def test_rounds_without_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="warm_up_every: warm_up says how many"):
        fit(starts(count=1), warm_up_every=3)
    state = fit(starts(count=1), epochs=1).state
    with pytest.raises(ValueError, match="another warm_up_every"):
        fit(starts(count=1), state=state, warm_up=3, warm_up_every=3)
