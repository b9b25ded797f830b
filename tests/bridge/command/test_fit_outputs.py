"""What ``lmjax fit`` writes: never onto what it reads, and somewhere else where the output cannot
be written after the training.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bridge
from bridge._src.command.main import main
from bridge._src.description.weights import leaves
from lmjax._src.runtime import slices as driving


def test_outputs_onto_inputs_are_refused_before_training(
    model_file: Path,
    csv_file: Path,
    table: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "bridge._src.command.fit.train",
        lambda *_, **__: pytest.fail("trained although an input would be overwritten"),
    )
    model, output, folder = tmp_path / "m.keras", tmp_path / "f.keras", tmp_path / "arrays"
    model.write_bytes(model_file.read_bytes())
    folder.mkdir()
    for name, array in (("x", table[:, :3]), ("y", table[:, 3:])):
        np.save(folder / f"{name}.npy", array)
    (tmp_path / "link.csv").symlink_to(csv_file)
    os.link(csv_file, tmp_path / "hard.csv")
    (tmp_path / "to-data.keras").symlink_to(csv_file)
    (tmp_path / "to-array.keras").symlink_to(folder / "x.npy")
    (tmp_path / "to-output.csv").symlink_to(output)
    contents = {
        path: path.read_bytes() for path in (csv_file, model, folder / "x.npy", folder / "y.npy")
    }
    cases = [
        (csv_file, output, csv_file, "the data"),
        (csv_file, output, tmp_path / "link.csv", "the data"),
        (csv_file, output, tmp_path / "hard.csv", "the data"),
        (csv_file, output, model, "the model"),
        (csv_file, output, output, "the trained model"),
        (csv_file, output, tmp_path / "to-output.csv", "the trained model"),
        (csv_file, tmp_path / "to-data.keras", None, "the data"),
        (folder, output, folder / "y.npy", "the data"),
        (folder, tmp_path / "to-array.keras", None, "the data"),
    ]
    for data, target, history, named in cases:
        arguments = ["fit", str(model), str(data), "-o", str(target)]
        arguments += ["--target", "height"] if data == csv_file else []
        assert main(arguments + ([] if history is None else ["--history", str(history)])) == 2
        assert f"would overwrite {named} " in capsys.readouterr().err
    assert (
        main(
            [
                "fit",
                str(model),
                str(csv_file),
                "--target",
                "height",
                "-o",
                str(output),
                "--history",
                "/dev/null",
            ]
        )
        == 2
    )
    assert "/dev/null cannot be written: it is a device" in capsys.readouterr().err
    assert (
        main(
            [
                "fit",
                str(model),
                str(csv_file),
                "--target",
                "height",
                "-o",
                str(tmp_path / ("m" * 250 + ".keras")),
            ]
        )
        == 2
    )
    assert "shorter name" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in contents} == contents
    assert not output.exists()


@pytest.fixture
def scaled(table: np.ndarray, tmp_path: Path) -> Path:
    """Data that the model can learn, in a folder."""
    folder = tmp_path / "arrays"
    folder.mkdir()
    normal = (table - table.mean(axis=0)) / table.std(axis=0)
    np.save(folder / "x.npy", normal[:, :3])
    np.save(folder / "y.npy", normal[:, 3:])
    np.savez(tmp_path / "scaled.npz", x=normal[:, :3], y=normal[:, 3:])
    return folder


def loss(model: Path, folder: Path) -> float:
    converted = bridge.from_keras(model, "float64")
    x, y = (np.load(folder / f"{name}.npy") for name in ("x", "y"))
    return float(np.mean((np.asarray(converted(converted.params, x)) - y) ** 2))


@pytest.fixture
def after_slices(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], Any]], None]:
    """Has something happen during the training, after so many slices of it."""

    def plan(number: int, action: Callable[[], Any]) -> None:
        def planned(*args: Any, **options: Any) -> Iterator[Any]:
            for count, item in enumerate(driving.slices(*args, **options)):
                yield item
                if count == number:
                    action()

        monkeypatch.setattr("lmjax._src.training.epochs.epochs.slices", planned)
        monkeypatch.setattr(driving, "SLICE_SECONDS", 0.0)

    return plan


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("times", [1, 2])
def test_signals_write_what_was_trained(
    name: str,
    times: int,
    model_file: Path,
    scaled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    after_slices: Any,
) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    output, history = tmp_path / "fitted.keras", tmp_path / "history.csv"
    after_slices(20, lambda: [signal.raise_signal(number) for _ in range(times)])
    arguments = [
        "fit",
        str(model_file),
        str(tmp_path / "scaled.npz"),
        "-o",
        str(output),
        "--epochs",
        "1000",
        "--history",
        str(history),
    ]
    assert main([*arguments, "--standardize"]) == 128 + number
    assert "Interrupted" in capsys.readouterr().out
    assert loss(output, scaled) < loss(model_file, scaled)
    assert len(history.read_text().splitlines()) == 22
    assert signal.getsignal(number) is before
    assert not list(tmp_path.glob(".*"))
    output.unlink()
    after_slices(0, lambda: None)
    monkey = pytest.MonkeyPatch()
    monkey.setattr("bridge._src.command.fit.train", lambda *_, **__: signal.raise_signal(number))
    assert main(arguments) == 128 + number
    monkey.undo()
    by = "" if name == "SIGINT" else f" by {name}"
    assert capsys.readouterr().err == f"lmjax fit: interrupted{by}; nothing was written\n"
    assert not output.exists()


def test_a_full_disk_at_the_end(
    model_file: Path,
    scaled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    model = Path(shutil.copy(model_file, home))
    output = tmp_path / ("out" * 60 + ".keras")
    output.write_text("precious")
    sync = os.fsync

    def full(descriptor: int) -> None:
        if not os.path.samefile(Path(f"/proc/self/fd/{descriptor}").resolve().parent, home):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert (
        main(
            [
                "fit",
                str(model),
                str(tmp_path / "scaled.npz"),
                "-o",
                str(output),
                "--epochs",
                "20",
                "-q",
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    kept = Path(error.rpartition("what was trained is kept in ")[2].strip())
    assert kept.parent == home
    assert "(No space left on device); make room" in error
    assert loss(kept, scaled) < loss(model, scaled)
    assert output.read_text() == "precious"
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_that_is_gone_at_the_end(
    model_file: Path,
    scaled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    after_slices: Any,
) -> None:
    """With the model in it: then the bare weights are kept."""
    gone, place = tmp_path / "gone", tmp_path / "place"
    gone.mkdir()
    place.mkdir()
    monkeypatch.chdir(place)
    model = Path(shutil.copy(model_file, gone))
    after_slices(5, lambda: shutil.rmtree(gone))
    assert (
        main(
            [
                "fit",
                str(model),
                str(tmp_path / "scaled.npz"),
                "-o",
                str(gone / "f.keras"),
                "--epochs",
                "20",
                "-q",
            ]
        )
        == 2
    )
    (kept,) = place.iterdir()
    assert f"what was trained is kept in {kept}" in capsys.readouterr().err
    with np.load(kept) as arrays:
        expected = dict(leaves(bridge.from_keras(model_file).params))
        assert {name: arrays[name].shape for name in arrays} == {
            "/".join(path): leaf.shape for path, leaf in expected.items()
        }
        params: dict[str, Any] = {}
        for name in arrays:
            layer, weight = name.split("/")
            params.setdefault(layer, {})[weight] = arrays[name]
    bridge.save(params, model_file, tmp_path / "put-back.keras")
    assert loss(tmp_path / "put-back.keras", scaled) < loss(model_file, scaled)


def test_a_history_that_cannot_be_written(
    model_file: Path,
    scaled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    after_slices: Any,
) -> None:
    gone, output = tmp_path / "gone", tmp_path / "fitted.keras"
    gone.mkdir()
    after_slices(5, lambda: shutil.rmtree(gone))
    arguments = [
        "fit",
        str(model_file),
        str(tmp_path / "scaled.npz"),
        "-o",
        str(output),
        "--epochs",
        "20",
        "-q",
    ]
    assert main([*arguments, "--history", str(gone / "h.csv")]) == 2
    error = capsys.readouterr().err
    assert "h.csv cannot be written (No such file or directory)" in error
    assert f"the trained model is in {output}" in error
    assert loss(output, scaled) < loss(model_file, scaled)


def test_data_that_are_cut_off(
    model_file: Path,
    scaled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A memory map without its file kills who reads it."""
    output, reads = tmp_path / "fitted.keras", []
    x = scaled / "x.npy"
    content = x.read_bytes()

    def cut(leaf: Any) -> None:
        reads.append(leaf)
        if len(reads) == 40:
            os.truncate(x, 500)

    monkeypatch.setattr("lmjax._src.training.streaming.sources._let_go", cut)
    assert (
        main(["fit", str(model_file), str(scaled), "-o", str(output), "--epochs", "50", "-q"]) == 2
    )
    error = capsys.readouterr().err
    assert (
        "x.npy: the file was cut off while it was read; it has 500 bytes and had "
        f"{len(content)}; the best weights of the " in error
    )
    assert f"epochs before are written to {output}" in error
    x.write_bytes(content)
    assert loss(output, scaled) < loss(model_file, scaled)


@pytest.mark.parametrize("verbosity", ["-v", None])
def test_output_that_nobody_reads(
    verbosity: str | None,
    model_file: Path,
    scaled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "fitted.keras"
    arguments = [
        "fit",
        str(model_file),
        str(tmp_path / "scaled.npz"),
        "-o",
        str(output),
        "--epochs",
        "3",
    ]
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full" if Path("/dev/full").exists() else os.devnull, os.O_WRONLY)
    for target in (os.fdopen(writing, "w"), os.fdopen(full, "w"), None):
        monkeypatch.setattr(sys, "stdout", target)
        assert main([*arguments, verbosity] if verbosity else arguments) == 0
        assert loss(output, scaled) < loss(model_file, scaled)
        output.unlink()
        if target is not None:
            target.close()  # would raise if anything were left in it


def test_ctrl_c_waits_for_the_end_of_imports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Extension modules crash when it comes while they are imported."""
    module, ended = import_module("bridge._src.command.running"), []
    before = signal.getsignal(signal.SIGINT)

    def importing() -> None:
        signal.raise_signal(signal.SIGINT)
        ended.append("imports")

    monkeypatch.setattr(module, "make_parser", importing)
    assert main(["info", "model.keras"]) == 130
    assert ended == ["imports"]
    assert capsys.readouterr().err == "lmjax: interrupted; nothing was written\n"
    assert signal.getsignal(signal.SIGINT) is before
