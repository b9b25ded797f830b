"""The curves of a training are where its epochs are, on axes that suit them."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import lmjax
from lmjax.plots import training_curves

LOSSES = {"loss": [1.0, 0.1, 0.01], "val_loss": [2.0, 0.2, 0.3], "seconds": [0.5, 0.6, 0.8]}


def curves(panel):
    """The lines by what the legend calls them, as lists of points."""
    return {
        line.get_label(): list(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in panel.lines
    }


def legend(panel):
    return [text.get_text() for text in panel.get_legend().get_texts()]


def test_loss_and_validation_loss_with_the_start_and_the_kept_epoch():
    (panel,) = training_curves(LOSSES, start={"loss": 5.0, "val_loss": 6.0}, best_epoch=1)
    drawn = curves(panel)
    assert drawn["training"] == [(0, 5.0), (1, 1.0), (2, 0.1), (3, 0.01)]
    assert drawn["validation"] == [(0, 6.0), (1, 2.0), (2, 0.2), (3, 0.3)]
    assert drawn["epoch 2, kept"][0][0] == 2
    assert (panel.get_xlabel(), panel.get_ylabel(), panel.get_yscale()) == ("epochs", "loss", "log")
    assert legend(panel) == ["training", "validation", "epoch 2, kept"]


def test_seconds_of_an_epoch_are_those_at_its_end():
    epochs = {"loss": [7, 8, 9], "val_loss": [8, 9], "seconds": [7, 8, 9]}
    history = {**LOSSES, "val_loss": [2.0, 0.2]}
    options = {"epochs": epochs, "start": {"loss": 5.0}, "best_epoch": 8}
    (panel,) = training_curves(history, against="seconds", **options)
    drawn = curves(panel)
    assert drawn["training"] == [(0, 5.0), (0.5, 1.0), (0.6, 0.1), (0.8, 0.01)]
    assert drawn["validation"] == [(0.6, 2.0), (0.8, 0.2)]
    assert drawn["epoch 9, kept"][0][0] == 0.6
    (panel,) = training_curves(history, **options)
    assert curves(panel)["training"][0] == (7, 5.0)
    assert [x for x, _ in curves(panel)["validation"]] == [9, 10]


def test_every_metric_has_a_panel_of_its_own():
    history = {"mae": [3.0, 2.0], "loss": [1.0, 0.1], "val_mae": [3.0, 2.5], "out_loss": [1.0, 0.1]}
    panels = training_curves(history)
    assert [panel.get_ylabel() for panel in panels] == ["loss", "mae", "out_loss"]
    assert [len(panel.lines) for panel in panels] == [1, 2, 1]
    assert len(panels[0].figure.axes) == 3  # none is left empty


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3) | st.just(np.nan), min_size=1, max_size=9))
def test_a_logarithmic_axis_hides_no_number(values):
    axes = Figure().subplots()
    training_curves({"loss": values, "metric": values}, axes=[axes, axes.twinx()])
    known = np.array(values)[np.isfinite(values)]
    if axes.get_yscale() == "log":
        assert known.min() >= 0
        assert known.max() > 10 * known[known > 0].min()


def test_two_trainings_on_the_same_axes():
    axes = training_curves({"loss": [0.3, 0.2]}, label="slow")
    assert axes[0].get_yscale() == "linear"
    again = training_curves({"loss": [0.3, 1e-4]}, label="fast", best_epoch=1, axes=axes)
    assert again[0] is axes[0]
    assert axes[0].get_yscale() == "log"  # as both together need it
    assert legend(axes[0]) == ["slow: training", "fast: training", "fast: epoch 2, kept"]
    training_curves({"loss": [0.3, -1.0]}, axes=axes[0])
    assert axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("history", "options", "error"),
    [
        ({}, {}, "no epoch"),
        ({"loss": [], "seconds": []}, {}, "no epoch"),
        (LOSSES, {"against": "hours"}, "'epochs' or 'seconds'"),
        ({"loss": [1.0]}, {"against": "seconds"}, "has no 'seconds'"),
        (LOSSES, {"epochs": {"loss": [0]}}, "1 for 'loss', which has 3"),
        (LOSSES, {"axes": []}, "1 are needed"),
        (LOSSES, {"axes": ["left"]}, "expected Axes"),
    ],
)
def test_what_cannot_be_drawn_is_named(history, options, error):
    with pytest.raises((TypeError, ValueError), match=error):
        training_curves(history, **options)


def test_a_missing_matplotlib_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"lmjax\.plots needs matplotlib.*'lmjax\[plot\]'"):
        training_curves(LOSSES)


def test_a_fit_draws_itself():
    x = np.linspace(-1, 1, 20)[:, None]
    start = {"slope": np.ones(1), "bend": np.ones(1)}
    result = lmjax.fit(
        lambda p, x: p["slope"] * x / (1 + p["bend"] ** 2 * x**2),
        start,
        x,
        np.sin(3 * x),
        validation_data=(x, np.sin(2.5 * x)),
        validation_freq=2,
        epochs=4,
        verbose=0,
    )
    (panel,) = result.plot()
    drawn = curves(panel)
    assert drawn["training"] == list(enumerate([result.start["loss"], *result.history["loss"]]))
    assert [x for x, _ in drawn["validation"]] == [0, 2, 4]
    assert result.epochs_of("val_loss") == [1, 3]
    assert legend(panel)[-1] == f"epoch {result.best_epoch + 1}, kept"
    (panel,) = result.plot("seconds", label="mine", axes=Figure().subplots())
    assert [x for x, _ in curves(panel)["mine: training"]] == [0, *result.history["seconds"]]


def test_panels_of_steps():
    history = LOSSES | {
        "damping": [1e-2, 1e-4, 1e-5],
        "gradient_norm": [1.0, 0.1, 0.01],
        "gain_ratio": [1.0, 1.0, 1.0],
    }
    assert len(training_curves(history)) == 1
    loss, damping, gradient = training_curves(history, steps=True, best_epoch=1)
    assert [panel.get_ylabel() for panel in (damping, gradient)] == ["damping λ", "gradient norm"]
    assert damping.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert gradient.lines[0].get_xdata().tolist() == [0, 1, 2]
    assert damping.get_xlim() == gradient.get_xlim() == loss.get_xlim()
    with pytest.raises(ValueError, match="steps: the history tells nothing of steps"):
        training_curves(LOSSES, steps=True)
