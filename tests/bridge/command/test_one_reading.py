"""``lmjax fit`` opens the file of its model once, and reads, builds and binds what is in it once."""

from __future__ import annotations

import builtins
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import bridge
from bridge._src.command.main import main
from bridge._src.description.weights import leaves
from bridge._src.formats.description import describe
from bridge._src.module.binding import find
from bridge._src.module.build import build
from lmjax._src.training.streaming.sources import find_source
from tests.bridge.counting import counted


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is opened for reading, by its name."""
    names: Counter[str] = Counter()

    def watching(function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
            if isinstance(file, (str, Path)) and "r" in mode:
                names[Path(file).name] += 1
            return function(file, mode, *more, **options)

        return watched

    monkeypatch.setattr(builtins, "open", watching(builtins.open))
    monkeypatch.setattr(io, "open", watching(io.open))
    return names


@pytest.fixture
def archives(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each archive is made sense of, by the name of its file."""
    names: Counter[str] = Counter()
    begin = zipfile.ZipFile.__init__

    def watched(self: Any, file: Any, mode: Any = "r", *more: Any, **options: Any) -> None:
        name = getattr(file, "name", file)
        if isinstance(name, (str, Path)) and mode == "r":
            names[Path(name).name] += 1
        begin(self, file, mode, *more, **options)

    monkeypatch.setattr(zipfile.ZipFile, "__init__", watched)
    return names


@pytest.fixture(params=["sequential", "functional", "nested"])
def model(request: pytest.FixtureRequest) -> Any:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    made = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)], name="chain"
    )
    if request.param != "sequential":
        start = keras.Input((3,))
        hidden = layers.Dense(3, "tanh")(start) if request.param == "functional" else start
        end = made(hidden) if request.param == "nested" else layers.Dense(1)(hidden)
        made = keras.Model(start, end)
    made.compile(loss="mse")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".h5", ".lmjax"])
@pytest.mark.filterwarnings("ignore:.*HDF5 file")
def test_a_fit_opens_its_model_once(
    model: Any,
    suffix: str,
    npz_file: Path,
    tmp_path: Path,
    opened: Counter[str],
    archives: Counter[str],
) -> None:
    source, output = tmp_path / f"model{suffix}", tmp_path / f"fitted{suffix}"
    if suffix == ".lmjax":
        bridge.pack(model, source)
    else:
        model.save(source)
    before = [np.array(leaf) for leaf in model.get_weights()]
    opened.clear()
    archives.clear()
    arguments = ["fit", str(source), str(npz_file), "-o", str(output), "--epochs", "3", "-q"]
    with counted(build, describe, find_source) as calls:
        assert main(arguments) == 0
    assert opened[source.name] == 1
    assert archives[source.name] == (suffix != ".h5")
    assert calls["build"] == calls["find_source"] == 1
    assert calls["describe"] == (suffix != ".lmjax")
    fitted = bridge.from_keras(output)
    assert len(fitted.table) == len(before)
    after = [np.asarray(leaf).tobytes() for _, leaf in leaves(fitted.params)]
    assert sorted(after) != sorted(leaf.tobytes() for leaf in before)


def test_so_does_info(model: Any, tmp_path: Path, opened: Counter[str]) -> None:
    model.save(tmp_path / "model.keras")
    opened.clear()
    with counted(describe, find) as calls:
        assert main(["info", str(tmp_path / "model.keras"), "--samples", "10"]) == 0
    assert opened["model.keras"] == 1
    assert calls == {"describe": 1, "find": 1}


@pytest.mark.slow
def test_the_model_may_be_its_own_output_and_may_be_gone(
    model: Any, npz_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened is what is copied, whatever happens to the name meanwhile."""
    source = tmp_path / "model.keras"
    model.save(source)
    before = source.read_bytes()
    assert main(["fit", str(source), str(npz_file), "-o", str(source), "--epochs", "3", "-q"]) == 0
    assert source.read_bytes() != before

    from bridge._src.command import fit as command

    train = command.train

    def trained(*given: Any, **options: Any) -> Any:
        source.unlink()
        return train(*given, **options)

    monkeypatch.setattr(command, "train", trained)
    output = tmp_path / "fitted.keras"
    assert main(["fit", str(source), str(npz_file), "-o", str(output), "--epochs", "3", "-q"]) == 0
    assert len(bridge.from_keras(output).table) == len(model.weights)
