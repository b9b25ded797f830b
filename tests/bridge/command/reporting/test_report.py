"""``lmjax fit --report`` writes a page that needs nothing else, and whose numbers are right."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bridge
import lmjax
from bridge._src.command.data.samples import Data
from bridge._src.command.main import main
from bridge._src.command.reporting import outcomes
from bridge._src.command.reporting.outcomes import Outcome, outcome_of
from bridge._src.command.reporting.page import numbers
from bridge._src.command.reporting.statistics import classes_of, fitted

RANDOM = np.random.default_rng(0)
#: Elements that have no end.
_EMPTY = ("meta", "img", "br", "wbr")


class Page(HTMLParser):
    """Checks that elements lie within one another, and keeps texts, images and tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[bytes] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        given = dict(attributes)
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not {"href", "onerror", "onload", "srcset"} & set(given)
        if tag == "img":
            kind, data = given["src"].split(",", 1)
            assert kind == "data:image/png;base64"
            assert given["alt"]
            self.images.append(base64.b64decode(data, validate=True))
        if tag == "tr":
            self.rows.append([])
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1].append(data)
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def row(self, name: str) -> list[str]:
        """The cells of the one row of that name."""
        (found,) = [row[1:] for row in self.rows if row and row[0] == name]
        return found


def command(model: Path, data: Path, folder: Path, *more: str) -> list[str]:
    output = ["-o", str(folder / "fitted.keras"), "--report", str(folder / "report.html")]
    return ["fit", str(model), str(data), *output, "--epochs", "3", *more]


def hostile(source: Path, target: Path) -> Path:
    """A copy of a model file whose name would be a program in a page."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == "config.json":
                config = json.loads(content)
                config["config"]["name"] = '<script src="x">&'
                content = json.dumps(config).encode()
            new.writestr(member, content)
    return target


def test_the_page(
    model_file: Path, tmp_path: Path, table: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.csv"
    normal = (table - table.mean(axis=0)) / table.std(axis=0)
    header = "a,<b>&amp;,c,<i>height</i>"
    np.savetxt(data, normal, delimiter=",", header=header, comments="", fmt="%.17g")
    model = hostile(model_file, tmp_path / "model.keras")
    options = ("--target", "<i>height</i>", "--validation-split", "0.25", "--dtype", "float64")
    options = (*options, "--test-split", "0.1")
    (tmp_path / "report.html").write_text("an older one")
    assert main(command(model, data, tmp_path, *options)) == 0
    said = capsys.readouterr().out
    assert f"wrote {tmp_path / 'report.html'}" in said
    assert "78 samples, 30 held out, 12 to test on" in said
    written = (tmp_path / "report.html").read_text()
    assert not re.search(r"url\(|@import|https?://", written)
    page = Page(written)
    texts = "".join(page.texts)
    for expected in (
        'Fit of <script src="x">&',
        "a, <b>&amp;, c",
        "Stopped at the step limit",
        "kernel[3, 6]",
        f"fit {model} {data} -o ",
        "MeanSquaredError()",
    ):
        assert expected in texts
    assert page.row("jax")[0] in sys.modules["jax"].__version__
    assert page.row("training samples") == ["78"]
    assert len(page.images) == 6
    assert all(image.startswith(b"\x89PNG") for image in page.images)
    converted = bridge.from_keras(tmp_path / "fitted.keras", "float64")
    order = np.random.default_rng(0).permutation(120)
    sets = {"validation": order[:30], "test": order[30:42], "training": order[42:]}
    for name, places in sets.items():
        x, y = normal[places, :3], normal[places, 3:]
        errors = y - np.asarray(converted(converted.params, x))
        expected = [
            np.sqrt(np.mean(errors**2)),
            np.mean(np.abs(errors)),
            np.max(np.abs(errors)),
            1 - np.sum(errors**2) / np.sum((y - y.mean()) ** 2),
        ]
        count, *found = page.row(f"{name}: <i>height</i>")
        assert count == str(len(places))
        np.testing.assert_allclose(list(map(float, found)), expected, rtol=1e-3)
        if name == "test":  # with the penalty of the kernel
            kernel = np.asarray(next(iter(converted.params.values()))["kernel"])
            assert kernel.shape == (3, 6)
            tested = expected[0] ** 2 + 1e-5 * np.sum(kernel**2)
            assert float(page.row("test loss")[0]) == pytest.approx(tested, rel=1e-3)
            assert f"test loss {tested:.3g}" in said


def test_long_names_break_at_underscores() -> None:
    """So that a narrow page has room for the numbers."""
    table = numbers(("", "start"), [("test root_mean<i>", "0.1")])
    assert "<th>test root_<wbr>mean&lt;i&gt;</th><td>0.1</td>" in table
    Page(table)


def test_what_cannot_be_written_is_refused_before_the_training(
    model_file: Path,
    npz_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "bridge._src.command.fit.train", lambda *_, **__: pytest.fail("trained in vain")
    )
    same = str(tmp_path / "same.html")
    cases = [
        (["--report", str(tmp_path / "report.pdf")], "has to end in .html"),
        (["--report", str(tmp_path / "none" / "report.html")], "make it first"),
        (["--report", same, "--history", same], "would overwrite the history"),
    ]
    for more, words in cases:
        assert main(command(model_file, npz_file, tmp_path, *more)) == 2
        assert words in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(command(model_file, npz_file, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "--report needs matplotlib" in error
    assert "lmjax[plot]" in error
    assert [path.name for path in tmp_path.iterdir()] == [npz_file.name]


@pytest.mark.slow
def test_a_page_that_cannot_be_written_at_the_end(
    model_file: Path,
    npz_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    def lost(*_: Any) -> str:
        shutil.rmtree(gone)
        return ""

    monkeypatch.setattr("bridge._src.command.reporting.pictures.curves", lost)
    more = ("--report", str(gone / "report.html"), "-q")
    assert main(command(model_file, npz_file, tmp_path, *more)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "report.html cannot be written (No such file or directory)" in error
    assert f"the trained model is in {tmp_path / 'fitted.keras'}" in error
    bridge.from_keras(tmp_path / "fitted.keras")


def test_rows_that_do_not_count_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masked steps and rows without weight; of data on disk some rows, evenly spaced."""
    import keras

    layers = keras.layers
    steps = layers.Embedding(4, 2, mask_zero=True)
    model = keras.Sequential([keras.Input((5,), dtype="int32"), steps, layers.Dense(1)])
    converted = bridge.from_keras(model)
    x, y = RANDOM.integers(0, 4, (20, 5)), RANDOM.normal(size=(20, 5, 1))
    weights = (np.arange(20) % 3 > 0).astype(float)
    expected = np.asarray(converted(converted.params, x))
    kept = (x > 0) & (weights[:, None] > 0)
    loss = lmjax.losses.MeanSquaredError()
    found = outcome_of("training", converted, loss, Data(x, y, sample_weight=weights))
    np.testing.assert_array_equal(found.targets, y[kept])
    np.testing.assert_allclose(found.outputs, expected[kept], rtol=1e-6)
    monkeypatch.setattr(outcomes, "_MOST_STREAMED", 6)
    found = outcome_of("training", converted, loss, Data(x, y, streamed=True))
    assert found.every == 4
    np.testing.assert_array_equal(found.targets, y[::4][x[::4] > 0])


def test_classes() -> None:
    losses, count = lmjax.losses, 3
    scores, targets = RANDOM.normal(size=(50, count)), RANDOM.integers(0, count, 50)
    chosen = scores.argmax(axis=1)
    for loss, y in (
        (losses.SparseCategoricalCrossentropy(), targets),
        (losses.CategoricalCrossentropy(from_logits=True), np.eye(count)[targets]),
    ):
        found = classes_of(Outcome("", y, scores, None, 1), loss)
        assert found is not None
        assert found.accuracy == np.mean(chosen == targets)
        for row in range(count):
            for column in range(count):
                expected = sum((targets == row) & (chosen == column))
                assert found.confusion()[row, column] == expected
    ignoring = losses.SparseCategoricalCrossentropy(ignore_class=2)
    found = classes_of(Outcome("", targets, scores, None, 1), ignoring)
    assert found is not None
    assert found.targets.size == np.sum(targets != 2)
    for logits, threshold in ((True, 0.0), (False, 0.5)):
        loss = losses.BinaryCrossentropy(from_logits=logits)
        labels = (targets > 1).astype(float)[:, None]
        found = classes_of(Outcome("", labels, scores[:, :1], None, 1), loss)
        assert found is not None
        assert found.accuracy == np.mean((scores[:, :1] > threshold) == labels)
    assert classes_of(Outcome("", targets, scores, None, 1), losses.MeanSquaredError()) is None


def test_many_outputs_are_taken_together() -> None:
    y, outputs = RANDOM.normal(size=(7, 30)), RANDOM.normal(size=(7, 30))
    (found,) = fitted(Outcome("", y, outputs, None, 1))
    assert found.samples == 210
    assert found.mean_absolute == pytest.approx(np.mean(np.abs(y - outputs)))
    constant = Outcome("", np.ones((4, 1)), np.zeros((4, 1)), ("height",), 1)
    assert np.isnan(fitted(constant)[0].determination)
    assert fitted(constant)[0].name == "height"
    nothing = constant._replace(targets=np.ones((0, 1)), outputs=np.ones((0, 1)))
    assert fitted(nothing) == []
