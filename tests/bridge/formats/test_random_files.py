"""Random bytes and random values in every kind of file: each is read or refused, soon, and nothing
else happens.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import signal
import time
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import bridge
from bridge._src.command.data import data_files
from bridge._src.command.failure import CommandError

#: Seconds in which a file is read or refused, on a slow and busy machine.
DEADLINE = 60
#: How many files of each kind the slow test reads; 10 000 in all.
COUNTS = {
    "bytes of .keras": 1200,
    "values of .keras": 1600,
    "bytes of .h5": 1200,
    "values of .h5": 800,
    "bytes of .weights.h5": 1200,
    "bytes of .lmjax": 600,
    "values of .lmjax": 600,
    "bytes of .csv": 800,
    "bytes of .npz": 600,
    "bytes of .npy": 600,
    "bytes of data .h5": 800,
}
VALUES = [
    None,
    -1,
    0,
    3,
    10**12,
    1e308,
    float("nan"),
    True,
    "",
    "tanh",
    "\x1b[2J",
    [],
    {},
    [None],
    [[1]],
    {"class_name": "Dense"},
]


class Late(BaseException):
    """The deadline has passed."""


@contextlib.contextmanager
def deadline():
    def late(number, frame):
        raise Late

    old = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """One small model and its data in every kind of file."""
    import keras

    folder = tmp_path_factory.mktemp("base")
    layers = keras.layers
    inputs = keras.Input((6,), name="in")
    hidden = layers.Dense(4, "tanh", name="dense")(inputs)
    joined = layers.Concatenate(name="join")(
        [hidden, layers.BatchNormalization(name="norm")(hidden)]
    )
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Reshape((4, 2)), layers.LSTM(2)], name="inner"
    )
    model = keras.Model(inputs, layers.Dense(1, name="head")(inner(joined)), name="net")
    model.compile(loss="mse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(folder / "model.keras")
        model.save(folder / "model.h5")
    model.save_weights(folder / "model.weights.h5")
    bridge.pack(model, folder / "model.lmjax")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    np.savez(folder / "data.npz", x=x, y=y)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    np.savetxt(folder / "data.csv", np.hstack([x, y]), delimiter=",", header="a,b,c,t", comments="")
    with h5py.File(folder / "data.h5", "w") as file:
        file["x"], file["y"] = x, y
        file.create_dataset("z", data=x, chunks=(7, 2), compression="gzip")
    return folder


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """``content`` with some bytes changed, cut off, moved or doubled."""
    if rng.random() < 0.1:
        return content[: rng.randrange(len(content))]
    new = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(new))
        kind = rng.randrange(4)
        if kind == 0:
            new[at] = rng.randrange(256)
        elif kind == 1:  # a number of eight bytes
            number = rng.choice(
                [0, 1, 255, len(content), at, rng.randrange(len(content)), 1 << 31, (1 << 64) - 1]
            )
            new[at : at + 8] = number.to_bytes(8, "little")[: len(new) - at]
        elif kind == 2:
            begin = rng.randrange(len(new))
            piece = new[begin : begin + rng.randrange(1, 40)]
            new[at : at + len(piece)] = piece
        else:
            new[at] ^= 1 << rng.randrange(8)
    return bytes(new)


def changed_values(value, rng: random.Random):
    """``value``, of lists and mappings, with one of its values or keys replaced."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        kind = rng.random()
        if kind < 0.08:
            return {name: item for name, item in value.items() if name != key}
        if kind < 0.12:
            return {("\x1b[31m" if name == key else name): item for name, item in value.items()}
        return value | {key: changed_values(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        if rng.random() < 0.1:
            return [*value[:at], *value[at + 1 :]]
        return [
            changed_values(item, rng) if position == at else item
            for position, item in enumerate(value)
        ]
    return rng.choice(VALUES)


def with_member(source: Path, target: Path, name: str, change) -> None:
    """A copy of a zip with ``change`` applied to one member."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info.filename, change(content) if info.filename == name else content)


def made(kind: str, base: Path, folder: Path, rng: random.Random) -> Path:
    """A file of this kind with something random in it."""
    what, ending = kind.split(" of ")
    if kind == "bytes of .npy":
        for name in ("x.npy", "y.npy"):
            (folder / name).write_bytes(changed_bytes((base / name).read_bytes(), rng))
        return folder
    name = {".csv": "data.csv", ".npz": "data.npz", "data .h5": "data.h5"}.get(
        ending, f"model{ending}"
    )
    target = folder / name
    # Within the member, for the zip knows of its checksum.
    if kind == "bytes of .keras" and rng.random() < 0.8:
        member = rng.choice(
            ["model.weights.h5", "model.weights.h5", "config.json", "metadata.json"]
        )
        with_member(base / name, target, member, lambda content: changed_bytes(content, rng))
    elif what == "bytes":
        target.write_bytes(changed_bytes((base / name).read_bytes(), rng))
    elif ending == ".h5":
        shutil.copy(base / name, target)
        with h5py.File(target, "r+") as file:
            file.attrs["model_config"] = json.dumps(
                changed_values(json.loads(file.attrs["model_config"]), rng)
            )
    else:
        member = "config.json" if ending == ".keras" else "bundle.json"
        with_member(
            base / name,
            target,
            member,
            lambda content: json.dumps(changed_values(json.loads(content), rng)).encode(),
        )
    return target


def read(kind: str, base: Path, path: Path) -> str | None:
    """Reads a file; what it was refused with, if it was."""
    try:
        with deadline():
            if kind == "bytes of .weights.h5":
                bridge.from_keras(base / "model.keras", weights=path)
            elif kind in ("bytes of .csv", "bytes of .npz", "bytes of .npy", "bytes of data .h5"):
                found = data_files.read(path, ["t"] if path.suffix == ".csv" else [])
                np.asarray(found.x), np.asarray(found.y)
            else:
                repr(bridge.from_keras(path))
    except (bridge.ConversionError, CommandError) as error:
        return str(error)
    except OSError as error:
        if kind != "bytes of data .h5":
            raise
        return f"{path}: {error}"  # values that are read in the midst of a fit, which says so
    return None


def run(kind: str, count: int, base: Path, folder: Path) -> dict[str, float]:
    results: dict[str, float] = {"read": 0, "refused": 0, "slowest": 0.0}
    for seed in range(count):
        rng = random.Random(f"{kind} {seed}")
        path = made(kind, base, folder, rng)
        begin = time.perf_counter()
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                refusal = read(kind, base, path)
            except Late:
                pytest.fail(f"{kind}, seed {seed}: neither read nor refused after {DEADLINE} s")
            except Exception as error:
                raise AssertionError(
                    f"{kind}, seed {seed}: {type(error).__name__}: {error}"
                ) from error
        results["read" if refusal is None else "refused"] += 1
        if refusal is not None:
            assert str(path) in refusal or refusal.startswith("cannot convert model"), (
                f"{kind}, seed {seed}: {refusal}"
            )
            assert "\x1b" not in refusal
        results["slowest"] = max(results["slowest"], time.perf_counter() - begin)
    return results


@pytest.mark.parametrize("kind", COUNTS)
def test_a_few_of_each_kind(kind, base, tmp_path):
    results = run(kind, 8, base, tmp_path)
    assert results["read"] + results["refused"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_ten_thousand(kind, base, tmp_path):
    results = run(kind, COUNTS[kind], base, tmp_path)
    print(kind, results)
    assert results["refused"] > COUNTS[kind] / 20
