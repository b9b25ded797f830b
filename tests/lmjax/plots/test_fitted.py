"""Parity, residuals and histograms show every sample, in each structure that models have."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.figure import Figure

from lmjax.plots import error_histogram, parity, residuals

ALL = (parity, residuals, error_histogram)
VALUES = st.floats(-1e100, 1e100).map(lambda value: value if abs(value) > 1e-100 else 0.0)


def legend(panel):
    return [text.get_text().replace("\n", " ") for text in panel.get_legend().get_texts()]


def drawn(draw, *arguments, **options):
    """The panels, after they have been painted."""
    panels = draw(*arguments, **options)
    panels[0].figure.savefig(io.BytesIO(), dpi=20)
    return panels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_the_legend_are_numpys(dtype):
    random = np.random.default_rng(0)
    y = random.normal(3, 2, 200).astype(dtype)
    outputs = (y + random.normal(0, 0.5, 200)).astype(dtype)
    error = y.astype(float) - outputs
    rmse, quality = np.sqrt(np.mean(error**2)), 1 - np.mean(error**2) / y.astype(float).var()
    slope, offset = np.polyfit(y.astype(float), outputs, 1)
    (panel,) = parity(y, outputs, units="m")
    assert legend(panel) == [
        f"R² = {quality:.4g}, RMSE = {rmse:.3g} m",
        f"line: {slope:.3g} × target + {offset:.3g} m",
    ]
    (panel,) = residuals(y, outputs[:, None])  # Keras takes one for the other
    assert legend(panel) == [f"RMSE = {rmse:.3g}", "± 2 RMSE"]
    np.testing.assert_allclose(panel.lines[0].get_ydata(), error)
    (panel,) = error_histogram(y, outputs)
    said = f"mean {error.mean():.3g}, standard deviation {error.std():.3g}".replace("-", "−")
    assert legend(panel) == [said]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(VALUES, VALUES) | st.tuples(VALUES).map(lambda v: v * 2), min_size=1, max_size=5
    )
)
def test_every_sample_is_within_its_panel(pairs):
    """Whatever the numbers: equal ones, tiny and huge ones."""
    y, outputs = np.array(pairs).T
    axes = Figure().subplots(1, 3)
    for draw, panel in zip(ALL, axes, strict=True):
        draw(y, outputs, axes=panel)
    low, high = axes[0].get_xlim()
    assert low < min(y.min(), outputs.min())
    assert max(y.max(), outputs.max()) < high
    assert sum(bar.get_height() for bar in axes[2].patches) == len(y)
    for bar in axes[2].patches:
        assert bar.get_width() > 0


@pytest.mark.parametrize("draw", ALL)
def test_structures_of_outputs(draw):
    random = np.random.default_rng(0)
    one, two = random.normal(size=(7, 1)), random.normal(size=(7, 5, 2))

    def labels(y, **options):
        panels = draw(y, y, **options)
        assert len(panels[0].figure.axes) == len(panels)
        pyplot.close("all")
        return [panel.get_xlabel().partition(":")[0] for panel in panels]

    assert labels([one, two]) == ["output 0", "output 1[0]", "output 1[1]"]
    assert labels({"a": one, "b": [two]}) == ["a", "b[0][0]", "b[0][1]"]
    assert labels(two) == ["output 0", "output 1"]
    assert labels(two, names=["left", "right"], units=["m", "s"]) == ["left", "right"]
    (panel,) = draw(list(one[:, 0]), list(one[:, 0]))  # a list of numbers is one output
    assert ":" not in panel.get_xlabel()


@pytest.mark.parametrize("draw", ALL)
def test_samples_that_are_not_finite_are_counted(draw):
    (panel,) = drawn(draw, [1.0, np.nan, 3.0, 4.0], [1.0, 2.0, np.inf, 5.0])
    assert "(2 not finite, left out)" in legend(panel)[0]
    (panel,) = drawn(draw, [np.nan], [1.0])
    assert "(1 not finite, left out)" in legend(panel)[0]


@pytest.mark.parametrize("draw", ALL)
def test_two_sets_on_the_same_axes(draw):
    random = np.random.default_rng(0)
    y = random.normal(size=50)
    axes = draw(y, y + random.normal(size=50), label="training")
    again = drawn(draw, 3 * y, 3 * y + 5, label="validation", axes=axes)
    assert again[0] is axes[0]
    assert [said.partition(":")[0] for said in legend(axes[0])].count("validation") == 1
    if draw is parity:
        assert axes[0].get_xlim()[1] > (3 * y + 5).max()
    if draw is error_histogram:
        assert np.ptp([bar.get_width() for bar in axes[0].patches]) < 1e-12


@pytest.mark.parametrize("draw", ALL)
@pytest.mark.parametrize("inches", [2.6, 4.0, 12.0])
def test_panels_of_any_size_have_room_for_their_legends(draw, inches):
    """Matplotlib warns where there is none, and warnings are errors."""
    y = np.random.default_rng(0).normal(1e6, 1e3, 3000)
    figure = Figure(figsize=(inches, inches), layout="constrained")
    (panel,) = drawn(draw, y, y + 1, names="height", units="mm", axes=figure.subplots())
    box, cell = panel.get_legend().get_window_extent(), figure.bbox
    assert box.x1 <= cell.x1 + 1
    assert box.y1 <= cell.y1 + 1


@pytest.mark.parametrize("draw", ALL)
def test_a_low_panel_keeps_its_height(draw):
    """The legend of two sets leaves out lines beside the points, which a large figure names."""
    y = np.random.default_rng(0).normal(size=60)
    heights, counts = [], []
    for inches in ((3, 2), (12, 8)):
        figure = Figure(figsize=inches, layout="constrained")
        panel = figure.subplots()
        for label in ("training", "validation"):
            drawn(draw, y, y + 0.1 * y**2, units="mm", label=label, axes=panel)
        figure.canvas.draw()
        heights.append(panel.get_window_extent().height / figure.dpi)
        counts.append(len(panel.get_legend().get_texts()))
        assert panel.get_legend().get_window_extent().y1 <= figure.bbox.y1 + 1
        names = [said for said in legend(panel) if said.startswith(("training", "validation"))]
        assert len(names) == 2
    assert counts == [2, 2 if draw is error_histogram else 4]
    assert heights[0] > 0.3
    assert heights[1] > 6


@pytest.mark.parametrize(
    ("y", "outputs", "options", "error"),
    [
        (np.zeros(3), np.zeros(4), {}, r"\(3,\), outputs \(4,\)"),
        (np.zeros(3, int), np.zeros((3, 10)), {}, "class indices"),
        ({"a": np.zeros(3)}, {"b": np.zeros(3)}, {}, "'a' and one with 'b'"),
        ({"a": np.zeros(3)}, np.zeros(3), {}, "an array of shape"),
        ([np.zeros(3)], [np.zeros(3)] * 2, {}, "a list of 1 and a list of 2"),
        (np.zeros((3, 17)), np.zeros((3, 17)), {}, "17 outputs.*at most 16"),
        (np.zeros(0), np.zeros(0), {}, "no samples"),
        ({}, {}, {}, "no outputs"),
        (1.0, 1.0, {}, "a single number"),
        (["a"], ["b"], {}, "real numbers"),
        (np.zeros(3), np.zeros(3), {"names": ["a", "b"]}, "names: 1 are needed.*got 2"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"units": "m"}, "units: 2 are needed.*got 1"),
    ],
)
def test_what_does_not_fit_is_named(y, outputs, options, error):
    with pytest.raises((TypeError, ValueError), match=error):
        parity(y, outputs, **options)
