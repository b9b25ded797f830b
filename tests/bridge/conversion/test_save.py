"""``bridge.save``: a copy of a ``.keras`` file with trained parameters, all or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

import bridge
from bridge._src.formats import archive_writing as archive_writer


def _members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", ["mlp", "mixed", "images", "tokens", "functional"])
def test_keras_loads_the_copy_and_predicts_the_same(name, saved, keras, feed, tmp_path, outputs):
    source, target = saved(name), tmp_path / "fitted.keras"
    converted = bridge.from_keras(source, "float64")
    params = jax.tree.map(lambda leaf: leaf * 1.1 + 0.01, converted.params)
    assert bridge.save(params, source, target) == target
    model = keras.saving.load_model(target)
    x = feed(model)
    found = converted(params, x)
    for ours, expected in zip(
        found if isinstance(found, list) else [found], outputs(model, x), strict=True
    ):
        np.testing.assert_allclose(
            ours, expected, rtol=0, atol=1e-5 * max(np.abs(expected).max(), 1e-3)
        )
    again = bridge.from_keras(target)
    np.testing.assert_equal(
        again.params, jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
    )
    np.testing.assert_equal(
        dict(again.state), jax.tree.map(lambda leaf: leaf.astype(np.float32), dict(converted.state))
    )


def test_unchanged_parameters_give_the_same_bytes(saved, tmp_path):
    source, target = saved("mixed"), tmp_path / "same.keras"
    bridge.save(bridge.from_keras(source, "float64"), source, target)
    assert _members(target) == _members(source)


def test_optimizer_and_compile_options_survive(build, keras, tmp_path):
    model = build("mlp")
    model.compile("adam", "mse")
    model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
    model.save(tmp_path / "compiled.keras")
    bridge.save(
        bridge.from_keras(tmp_path / "compiled.keras"),
        tmp_path / "compiled.keras",
        tmp_path / "copy.keras",
    )
    copy = keras.saving.load_model(tmp_path / "copy.keras")
    for before, after in zip(model.optimizer.variables, copy.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
    assert copy.loss == "mse"


def test_in_place_and_permissions(saved):
    path = saved("mlp")
    path.chmod(0o640)
    converted = bridge.from_keras(path)
    bridge.save(jax.tree.map(lambda leaf: leaf + 1, converted.params), path, path)
    np.testing.assert_equal(
        bridge.from_keras(path).params, jax.tree.map(lambda leaf: leaf + 1, converted.params)
    )
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("target", ["missing/folder/x.keras", "x.h5", "x"])
def test_targets_that_cannot_be_written(saved, tmp_path, target):
    source = saved("mlp")
    with pytest.raises(bridge.ConversionError, match=r"cannot be written|must end in \.keras"):
        bridge.save(bridge.from_keras(source), source, tmp_path / target)


def test_target_that_is_a_folder(saved, tmp_path):
    source = saved("mlp")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(bridge.ConversionError, match="cannot be written"):
        bridge.save(bridge.from_keras(source), source, tmp_path / "folder.keras")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="elsewhere open files have no names")
def test_files_that_are_open_for_what_a_program_prints_are_not_replaced(tmp_path):
    """A new file in the place of the one that the shell has opened would take the name, and what is
    printed would be lost.
    """
    report, errors, third = (tmp_path / name for name in ("report", "errors", "third"))
    names = [
        "/dev/stdout",
        "/dev/stderr",
        "/proc/self/fd/1",
        "/dev/fd/{}",
        str(report),
        str(tmp_path / "link"),
        "new",
        str(third),
    ]
    program = (
        "import sys\nfrom pathlib import Path\nfrom bridge._src.description.errors "
        "import ConversionError\nfrom bridge._src.formats.output.targets import "
        "place_of\n"
        "for name in sys.argv[1:]:\n    try:\n        place_of(Path(name))\n"
        "    except ConversionError as error:\n        print('what the program prints "
        "goes there' in str(error))\n"
        "    else:\n        print('free')\n"
    )
    (tmp_path / "link").symlink_to(report)
    with report.open("w") as out, errors.open("w") as err, third.open("w") as other:
        arguments = [name.format(other.fileno()) for name in names]
        subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdout=out,
            stderr=err,
            pass_fds=[other.fileno()],
            check=True,
        )
    assert report.read_text().split() == ["True"] * 6 + ["free"] * 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["copy_archive", "replace"])
def test_a_failure_leaves_the_target_and_no_remains(saved, tmp_path, monkeypatch, error, step):
    source, target = saved("mlp"), tmp_path / "target.keras"
    target.write_bytes(b"old")
    converted = bridge.from_keras(source)

    def fail(*_):
        raise error

    monkeypatch.setattr(archive_writer if step == "copy_archive" else os, step, fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else bridge.ConversionError
    with pytest.raises(expected):
        bridge.save(converted, source, target)
    assert target.read_bytes() == b"old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mlp.keras", "target.keras"]


def test_params_that_do_not_fit(saved, tmp_path):
    source = saved("mlp")
    with pytest.raises(bridge.ConversionError, match="params do not fit"):
        bridge.save({}, source, tmp_path / "target.keras")
    assert not (tmp_path / "target.keras").exists()


def test_bfloat16_weights(keras, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, dtype="bfloat16"),
            keras.layers.Dense(2, dtype="float16"),
        ]
    )
    model.save(tmp_path / "half.keras")
    live, file = bridge.from_keras(model), bridge.from_keras(tmp_path / "half.keras")
    np.testing.assert_equal(file.params, live.params)
    params = jax.tree.map(lambda leaf: leaf + 0.5, live.params)
    bridge.save(params, tmp_path / "half.keras", tmp_path / "new.keras")
    bridge.to_keras(params, model)
    for before, after in zip(
        model.weights, keras.saving.load_model(tmp_path / "new.keras").weights, strict=True
    ):
        assert np.asarray(before).tobytes() == np.asarray(after).tobytes()


@pytest.mark.slow
def test_the_optimizer_of_a_compiled_model_survives(keras, tmp_path):
    """Keras keeps the variables of the optimizer in the file; its metrics start afresh with every
    epoch.
    """
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(3e-3), loss="mse", metrics=["mae"])
    generator = np.random.default_rng(0)
    x, y = (
        generator.normal(size=(32, 3)).astype("float32"),
        generator.normal(size=(32, 1)).astype("float32"),
    )
    model.fit(x, y, epochs=2, verbose=0)
    before = [np.asarray(variable) for variable in model.optimizer.variables]
    model.save(tmp_path / "model.keras")

    converted = bridge.from_keras(tmp_path / "model.keras", "float64")
    params = jax.tree.map(lambda leaf: leaf * 1.1, converted.params)
    bridge.save(params, tmp_path / "model.keras", tmp_path / "file.keras")
    bridge.pack(tmp_path / "model.keras", tmp_path / "model.lmjax")
    bridge.save(params, tmp_path / "model.lmjax", tmp_path / "fitted.lmjax")
    bridge.unpack(tmp_path / "fitted.lmjax", tmp_path / "model.keras", tmp_path / "bundle.keras")
    bridge.to_keras(jax.tree.map(lambda leaf: leaf.astype(np.float32), params), model)
    model.save(tmp_path / "live.keras")
    for name in ("file", "bundle", "live"):
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
        assert int(loaded.optimizer.iterations) == 2
        for found, expected in zip(loaded.optimizer.variables, before, strict=True):
            np.testing.assert_array_equal(found, expected)
        loaded.fit(x, y, epochs=1, verbose=0)
        assert set(loaded.history.history) == {"loss", "mae"}
