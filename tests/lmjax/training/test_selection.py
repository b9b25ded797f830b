"""Which parameters a fit returns and when it has had enough: the same rules for data in memory and
streamed, for steps on all rows and in batches.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import Status
from lmjax._src.training.following.selection import Kept, rules_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 2))
Y = X[:, :1] - X[:, 1:] ** 2 + RANDOM.normal(size=(60, 1))
FIRST, LAST = (X[:30], Y[:30]), (X[30:], Y[30:])
#: How data come, and how they are cut: (streamed, batch_size).
MODES = {
    "memory": (False, None),
    "stream": (True, None),
    "batches": (False, 10),
    "streamed batches": (True, 10),
}


def network(params, x):
    return jnp.tanh(x @ params["kernel"] + params["bias"]) @ params["out"]


def start(dtype=np.float64):
    random = np.random.default_rng(1)
    return {
        "kernel": random.normal(size=(2, 8)).astype(dtype),
        "bias": random.normal(size=8).astype(dtype),
        "out": random.normal(size=(8, 1)).astype(dtype),
    }


def fit(mode, dtype=np.float64, **options):
    streamed, batch_size = MODES[mode]
    data = ([FIRST],) if streamed else FIRST
    options = {"epochs": 12, "validation_data": LAST, "verbose": 0} | options
    return lmjax.fit(network, start(dtype), *data, batch_size=batch_size, **options)


def mse(params, data):
    params = {name: np.asarray(leaf, float) for name, leaf in params.items()}
    hidden = np.tanh(data[0] @ params["kernel"] + params["bias"])
    return float(np.mean((hidden @ params["out"] - data[1]) ** 2))


@pytest.mark.parametrize("restore", ["validation", "training", "last"])
@pytest.mark.parametrize("mode", MODES)
def test_the_parameters_are_those_of_the_epoch_that_is_named(mode, restore):
    result = fit(mode, restore=restore)
    history, best = result.history, result.best_epoch
    assert result.start == pytest.approx(
        {"loss": mse(start(), FIRST), "val_loss": mse(start(), LAST)}
    )
    expected = {
        "validation": int(np.argmin(history["val_loss"])),
        "training": int(np.argmin(history["loss"])),
        "last": 11,
    }
    assert best == expected[restore]
    assert mse(result.params, FIRST) == pytest.approx(history["loss"][best], rel=1e-9)
    assert mse(result.params, LAST) == pytest.approx(history["val_loss"][best], rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_patience_counts_validation_losses(mode):
    result = fit(mode, patience=3, epochs=200)
    losses = [result.start["val_loss"], *result.history["val_loss"]]
    assert result.status is Status.PATIENCE
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
    again = fit(mode, epochs=len(losses) - 1)
    assert again.history["loss"] == result.history["loss"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.slow
def test_only_some_epochs_are_validated(mode):
    result = fit(mode, validation_freq=3, patience=2, epochs=200)
    losses = [result.start["val_loss"], *result.history["val_loss"]]
    assert len(result.history["loss"]) == 3 * (len(losses) - 1)
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    every = fit(mode, epochs=len(result.history["loss"])).history
    assert result.history["loss"] == pytest.approx(every["loss"], rel=1e-9)
    assert result.history["val_loss"] == pytest.approx(every["val_loss"][2::3], rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_the_start_is_returned_where_nothing_is_better(mode):
    y = np.asarray(network(start(), LAST[0]))
    result = fit(mode, validation_data=(LAST[0], y), epochs=2)
    assert result.best_epoch is None
    for name, leaf in start().items():
        np.testing.assert_array_equal(result.params[name], leaf)


@pytest.mark.parametrize("mode", MODES)
def test_goal(mode):
    plain = fit(mode).history["loss"]
    goal = sorted(plain)[6]
    result = fit(mode, goal=goal)
    assert result.status is Status.GOAL
    number = next(place for place, loss in enumerate(plain) if loss <= goal)
    assert result.history["loss"] == pytest.approx(plain[: number + 1], rel=1e-9)


@pytest.mark.slow
def test_in_single_precision():
    result = fit("memory", np.float32, patience=3, epochs=200)
    assert result.status is Status.PATIENCE
    assert mse(result.params, LAST) == pytest.approx(min(result.history["val_loss"]), rel=1e-5)


def test_a_validation_loss_that_is_not_finite_is_none_to_keep():
    kept = Kept(np.zeros(2), np.asarray(np.nan), np.asarray(0, np.int32))
    for value, least, waited in [
        (np.inf, None, 1),
        (np.nan, None, 1),
        (3.0, 3.0, 0),
        (3.0, 3.0, 1),
    ]:
        kept = kept.after(np.full(2, value), np.asarray(value))
        assert (float(kept.least) if np.isfinite(kept.least) else None) == least
        assert int(kept.waited) == waited
    assert np.asarray(kept.params).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"restore": "best"}, "restore: expected"),
        ({"restore": "validation", "validated": False}, "restore: .*validation_data"),
        ({"patience": 3, "validated": False}, "patience: .*validation_data"),
        ({"patience": 0}, "patience: expected a whole number of at least 1"),
        ({"goal": "small"}, "goal: expected a number"),
        ({"goal": np.nan}, "goal: expected a number"),
        ({"max_seconds": -1}, "max_seconds: expected a number of at least 0"),
        ({"validation_freq": 0}, "validation_freq"),
        ({"validation_freq": [1, 2.5]}, "validation_freq"),
    ],
)
def test_wrong_rules_are_named(options, words):
    names = ("restore", "patience", "goal", "max_seconds")
    given = dict.fromkeys(names) | {"validation_freq": 1, "validated": True} | options
    with pytest.raises(ValueError, match=words):
        rules_of(
            *(given[name] for name in (*names, "validation_freq")), validated=given["validated"]
        )
