"""``bridge.compare`` on small models, for parts of a second."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

import bridge
from bridge._src.comparison.compilations import until_warm

#: Every run has its seconds.
pytestmark = pytest.mark.slow

_RANDOM = np.random.default_rng(0)
_X = _RANDOM.normal(size=(120, 3)).astype("float32")
_Y = np.sin(_X[:, :1]) + _X[:, 1:2] ** 2


def _model(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(5, activation="tanh", **options),
            keras.layers.Dense(1),
        ]
    )
    model.compile(loss="mse")
    return model


@pytest.fixture(scope="module")
def compared():
    """A model with a regularizer, what it was before, and what was found and said."""
    model = _model(kernel_regularizer=keras.regularizers.L2(1e-3))
    before, config = model.get_weights(), model.get_config()
    found = bridge.compare(
        model,
        _X[:90],
        _Y[:90],
        validation_data=(_X[90:], _Y[90:]),
        seconds=0.3,
        seeds=2,
        rates=[1e-3, 1e-2],
        verbose=0,
    )
    return model, before, config, found


def test_the_model_is_left_as_it_was(compared) -> None:
    model, before, config, _ = compared
    assert model.get_config() == config
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.optimizer.iterations.numpy() == 0
    assert not hasattr(model, "history") or model.history is None


def test_every_method_has_the_same_starts_and_seconds(compared) -> None:
    model, *_, found = compared
    assert [(row["method"], row["rate"]) for row in found.table] == [
        ("Levenberg-Marquardt", None),
        ("Adam", 1e-3),
        ("Adam", 1e-2),
        ("L-BFGS", None),
    ]
    at_start = float(model.evaluate(_X[:90], _Y[:90], batch_size=90, verbose=0))
    for curves in found._curves.values():
        assert len(curves) == 2
        assert curves[0].losses[0] == pytest.approx(at_start, rel=1e-5)
        for curve in curves:
            assert len(curve.seconds) == len(curve.losses) == len(curve.val_losses) > 2
            assert np.all(np.diff(curve.seconds) > 0)
            assert np.all(np.diff(curve.steps) > 0)
            assert curve.seconds[-1] <= 0.3
            assert curve.losses[curve.kept] < curve.losses[0]
    for curve in found._curves["Adam", 1e-2]:  # it looks at its losses now and then only
        assert curve.steps[-1] > 2 * len(curve.steps)
    for number in range(2):
        starts = [curves[number] for curves in found._curves.values()]
        assert len({curve.losses[0] for curve in starts}) == 1
        assert len({curve.val_losses[0] for curve in starts}) == 1
    assert "new draws from its initializers" in found.remarks[0]
    assert found.remarks[1] == "Nothing was compiled while a clock ran."


def test_full_steps_never_raise_the_loss(compared) -> None:
    *_, found = compared
    for method in ("Levenberg-Marquardt", "L-BFGS"):
        for curve in found._curves[method, None]:
            assert np.all(np.diff(curve.losses) <= 1e-12)


@pytest.mark.slow
def test_all_methods_find_the_least_squares_solution() -> None:
    """Which a model of one linear layer has, and NumPy knows; with weights of samples."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    weights = _RANDOM.uniform(0.5, 2.0, 120)
    wide = np.hstack([_X, np.ones((120, 1))]).astype(float) * np.sqrt(weights)[:, None]
    solution = np.linalg.lstsq(wide, _Y * np.sqrt(weights)[:, None])[0]
    least = float(np.mean((wide @ solution - _Y * np.sqrt(weights)[:, None]) ** 2))
    found = bridge.compare(
        model, _X, _Y, sample_weight=weights, seconds=2.0, seeds=2, rates=[1e-2], verbose=0
    )
    for row, tolerance in zip(found.table, (1e-9, 1e-3, 1e-9), strict=True):
        assert row["loss"] == pytest.approx(least, rel=tolerance)
        assert row["highest"] >= row["lowest"] >= least * (1 - 1e-9)
    assert found.verdict.startswith("No method is clearly best here")


def test_the_picture_has_a_panel_for_each_loss(compared, tmp_path) -> None:
    *_, found = compared
    figure = found.plot(tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size > 1000
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "validation loss"]
    assert [len(axes.lines) for axes in figure.axes] == [6, 6]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0] == "Levenberg-Marquardt"
    assert len(labels) == 3


@pytest.mark.slow
def test_constraints_hold_and_leave_out_what_cannot_serve_them(capsys) -> None:
    model = _model(kernel_constraint=keras.constraints.MaxNorm(0.5))
    found = bridge.compare(
        model, _X, _Y, seconds=0.1, seeds=1, rates=[1e-2], dtype="float32", batch_size=500
    )
    assert [row["method"] for row in found.table] == ["Levenberg-Marquardt", "Adam"]
    assert any("L-BFGS is left out" in remark for remark in found.remarks)
    assert any("float32" in remark for remark in found.remarks)
    assert any("in batches of 120" in remark for remark in found.remarks)
    assert "val_loss" not in found.table[0]
    assert "start 1 of 1: Adam (rate 0.01)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, "seconds: expected a number above 0"),
        ({"seeds": 0}, "seeds: "),
        ({"rates": []}, "rates: expected at least one"),
        ({"batch_size": 0}, "batch_size: "),
        ({"loss": "nothing"}, "nothing"),
    ],
    ids=lambda value: str(value),
)
def test_wrong_options_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        bridge.compare(_model(), _X, _Y, **options)


def test_streams_and_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="needs its data in memory"):
        bridge.compare(_model(), [(_X, _Y)])
    with pytest.raises(TypeError, match="lmjax compare"):
        bridge.compare("model.keras", _X, _Y)


def test_runs_are_repeated_until_nothing_is_compiled() -> None:
    import jax

    sizes = iter([3, 4, 4, 4])
    programs = {}

    def run():
        size = next(sizes)
        program = programs.setdefault(size, jax.jit(lambda x: x * 2 + size))
        program(np.ones(size)).block_until_ready()
        return size

    assert until_warm(run) == (4, True)
    assert until_warm(lambda: float(jax.jit(lambda x: x + 1)(np.ones(5))[0]))[1] is False


@pytest.mark.slow
def test_optax_is_asked_for_by_name() -> None:
    code = (
        "import sys; sys.modules['optax'] = None\n"
        "from bridge._src.comparison.lbfgs import _optimizer\n"
        "try: _optimizer()\nexcept ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "a comparison needs optax, which is not installed: pip install 'lmjax[optax]'\n"
    )
