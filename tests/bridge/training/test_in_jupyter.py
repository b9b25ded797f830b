"""What a person sees in Jupyter, where no ipywidgets are: cells that a kernel executes."""

from __future__ import annotations

import collections
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

_CELLS = {
    # TensorFlow, which Keras looks for on every backend, takes seconds to load.
    "model": """
        import sys
        sys.modules["tensorflow"] = sys.modules["ipywidgets"] = None
        import keras, numpy as np, lmjax, lmjax.keras
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)])
        model.compile(loss="mse", metrics=[keras.metrics.MeanAbsoluteError(name="<i>mae")])
        x = np.linspace(-1, 1, 30)[:, None]
        y = np.sin(3 * x)
    """,
    "fit": "history = lmjax.keras.fit(model, x, y, validation_split=0.2, epochs=20)",
    "history": "history",
    "plot": "history.plot();",
    "exception": """
        def ends(epoch, logs):
            if epoch == 2:
                raise RuntimeError("mine")
        lmjax.keras.fit(model, x, np.cos(3 * x), callbacks=ends)
    """,
    "interrupt": """
        import os, signal
        def ends(epoch, logs):
            if epoch == 3:
                os.kill(os.getpid(), signal.SIGINT)
        stopped = lmjax.keras.fit(model, x, np.cos(2 * x), callbacks=ends)
        print("next")
    """,
    "refused": "lmjax.keras.fit(model, x, y[:3])",
    "result": """
        line = lambda p, x: p["a"] * x + p["b"]
        lmjax.fit(line, {"a": np.zeros(1), "b": np.zeros(1)}, x, y, epochs=50)
    """,
    "lines": """
        lmjax.fit(line, {"a": np.zeros(1), "b": np.zeros(1)}, x, y, epochs=1, verbose=2);
    """,
}


class Cell(NamedTuple):
    """A cell that was executed."""

    outputs: list[Any]  #: as a notebook keeps them
    messages: collections.Counter[str]  #: of the kernel, by their kinds

    @property
    def kinds(self) -> list[str]:
        return [output.output_type for output in self.outputs]

    def text(self, place: int = 0) -> list[str]:
        return self.outputs[place].data["text/plain"].splitlines()


class Client(nbclient.NotebookClient):
    """Counts what the kernel sends."""

    def process_message(self, message: Any, cell: Any, number: int) -> Any:
        counts = self.__dict__.setdefault("counts", collections.defaultdict(collections.Counter))
        counts[number][message["msg_type"]] += 1
        return super().process_message(message, cell, number)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cell]:
    folder = tmp_path_factory.mktemp("jupyter")
    root = Path(__file__).parents[3]
    names = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    folders = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")
    names |= dict.fromkeys(folders, str(folder))
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in _CELLS.values()]
    )
    client = Client(notebook, timeout=120, allow_errors=True, kernel_name="python3")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        client.execute(cwd=str(folder))
    nbformat.validate(notebook)
    return {
        name: Cell(cell.outputs, client.counts[number])
        for number, (name, cell) in enumerate(zip(_CELLS, notebook.cells, strict=True))
    }


def test_a_fit_is_one_live_display(cells: dict[str, Cell]) -> None:
    """It ends with why the fit stopped and which epoch was kept."""
    assert cells["model"].outputs == []
    assert cells["fit"].kinds == ["display_data"]
    line, end = cells["fit"].text()
    number = r"\d\.?\d*(e-\d+)?"
    expected = (
        rf"loss {number}  <i>mae {number}  val_loss {number}  val_<i>mae {number}  0:\d\d:\d\d"
    )
    assert re.fullmatch(f"epoch 20/20 ━{{24}} {expected}", line)
    assert re.fullmatch(
        r"Stopped at the step limit before convergence; raise max_steps \(epochs\) to go on\. "
        rf"Returned are those of epoch \d+ \(loss {number}, val_loss {number}\)\.",
        end,
    )
    html = cells["fit"].outputs[0].data["text/html"]
    assert '<progress value="20" max="20"></progress> loss ' in html
    assert "val_&lt;i&gt;mae " in html
    assert f"<div>{end}</div>" in html
    messages = cells["fit"].messages
    assert messages["display_data"] == 1
    assert messages["update_display_data"] >= 2


def test_what_ends_a_cell_is_a_line(cells: dict[str, Cell]) -> None:
    assert cells["history"].kinds == ["execute_result"]
    number = r"\d\.?\d*(e-\d+)?"
    (line,) = cells["history"].text()
    losses = ", ".join([rf"(val_)?(loss|<i>mae)={number}"] * 4)
    assert re.fullmatch(rf"<History of 20 epochs: {losses}; MAX_STEPS>", line)
    assert cells["result"].kinds == ["display_data", "execute_result"]
    assert re.fullmatch(
        rf"<FitResult of \d+ epochs: loss={number}; COST>", *cells["result"].text(1)
    )


def test_a_plot_is_a_picture(cells: dict[str, Cell]) -> None:
    assert cells["plot"].kinds == ["display_data"]
    assert cells["plot"].outputs[0].data["image/png"].startswith("iVBORw0KGgo")


def test_an_end_before_the_last_epoch_leaves_the_line(cells: dict[str, Cell]) -> None:
    """An exception, Jupyter's stop button, and arguments that are refused."""
    assert cells["exception"].kinds == ["display_data", "error"]
    (line,) = cells["exception"].text()
    assert re.fullmatch(r"epoch 2/100 ─{24} loss \S+  <i>mae \S+  0:\d\d:\d\d", line)
    assert cells["exception"].outputs[1].evalue == "mine"
    assert cells["interrupt"].kinds == ["display_data", "stream"]
    line, end = cells["interrupt"].text()
    assert line.startswith("epoch 4/100 ─")
    assert end.startswith("Interrupted; the parameters are the best found so far. Returned are ")
    assert cells["interrupt"].outputs[1].text == "next\n"
    assert cells["refused"].kinds == ["error"]


def test_lines_are_lines_where_they_are_asked_for(cells: dict[str, Cell]) -> None:
    assert set(cells["lines"].kinds) == {"stream"}
    text = "".join(output.text for output in cells["lines"].outputs)
    assert re.fullmatch(r"epoch 1/1  loss \S+\nStopped at .*\n", text)
