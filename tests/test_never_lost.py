"""Fifty times each, at random moments: killed, interrupted, out of disk, out of memory, with data
that fail. What was trained is there.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import bridge
from bridge._src.command.main import main
from bridge._src.training.train import train

TIMES = 50

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data in a file and the same in a folder."""
    import keras

    folder = tmp_path_factory.mktemp("place")
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential([keras.Input((3,)), layers.Dense(6, "tanh"), layers.Dense(1)])
    model.compile(loss="mse")
    model.save(folder / "model.keras")
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 3))
    y = np.sin(2 * x.sum(axis=1, keepdims=True)) + 0.1 * random.normal(size=(300, 1))
    np.savez(folder / "data.npz", x=x, y=y)
    (folder / "data").mkdir()
    np.save(folder / "data" / "x.npy", x)
    np.save(folder / "data" / "y.npy", y)
    return folder


def loss(place: Path, model: Any) -> float:
    converted = bridge.from_keras(model, "float64")
    with np.load(place / "data.npz") as data:
        return float(np.mean((np.asarray(converted(converted.params, data["x"])) - data["y"]) ** 2))


# One process writes whole files again and again, in children that are killed at random moments;
# importing bridge is all that it loads.
_WRITER = """
import hashlib, os, random, signal, sys, time
from pathlib import Path
from bridge._src.formats.output.atomic import replacing

def write(target, content):
    with replacing(target) as file:
        for start in range(0, len(content), 1 << 16):
            file.write(content[start : start + (1 << 16)])

random.seed(0)
times, target = int(sys.argv[1]), Path(sys.argv[2], "model.keras")
whole = {hashlib.sha256(bytes([k]) * 2_000_000).digest(): k for k in range(256)}
write(target, bytes(2_000_000))
torn = left = 0
for number in range(times):
    child = os.fork()
    if not child:
        for k in range(256):
            write(target, bytes([k]) * 2_000_000)
        os._exit(0)
    time.sleep(random.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    torn += hashlib.sha256(target.read_bytes()).digest() not in whole
    left += len(list(target.parent.iterdir())) > 1
write(target, b"last")
print(torn, left, [path.name for path in target.parent.iterdir()])
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, str(TIMES), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    torn, left, names = done.stdout.split(" ", 2)
    print(
        f"{TIMES} kills: {torn} targets torn, {left} times a remain, after the next "
        f"writing: {names.strip()}"
    )
    assert int(torn) == 0
    assert int(left) > 0  # some were killed in the middle, or this shows nothing
    assert names.strip() == "['model.keras']"


# Signals go to a process of their own: one that came a moment too late would end the tests.
_SIGNALLED = """
import contextlib, io, json, os, random, signal, sys, threading, time
from pathlib import Path
import numpy as np
from bridge._src.command.main import main
from lmjax._src.training.streaming import sources

times, place = int(sys.argv[1]), Path(sys.argv[2])
random.seed(0)
let_go = sources._let_go
sources._let_go = lambda leaf: (time.sleep(0.0005), let_go(leaf))  # as slow as a disk
default = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

def press(number, delays, ended):
    for delay in delays:
        time.sleep(delay)
        while signal.getsignal(number) == default[number]:
            if ended.wait(0.001):
                return
        os.kill(os.getpid(), number)

for run in range(-1, times):  # the first compiles, the second tells how long one takes
    output, history = place / f"signalled-{run}.keras", place / f"signalled-{run}.csv"
    number, ended, out, err = random.choice(list(default)), threading.Event(), io.StringIO(), io.StringIO()
    delays = [random.uniform(0, usual)] + random.choice([[], [random.uniform(0, 0.05)]]) if run > 0 else []
    thread = threading.Thread(target=press, args=(number, delays, ended))
    begin = time.perf_counter()
    thread.start()
    arguments = ["fit", place / "model.keras", place / "data", "-o", output, "--history", history, "-v", "--epochs", 30]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    usual = time.perf_counter() - begin if run <= 0 else usual
    ended.set()
    thread.join()
    if run >= 0:
        epochs = out.getvalue().count("epoch ")
        print(json.dumps([run, number, len(delays), code, epochs, output.exists(), history.exists(), err.getvalue()]), flush=True)
"""


def test_interrupted(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALLED, str(TIMES), str(place)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    runs, begin = (
        [json.loads(line) for line in done.stdout.splitlines()],
        loss(place, place / "model.keras"),
    )
    assert len(runs) == TIMES
    seen: Counter[str] = Counter()
    for run, number, _, code, epochs, written, recorded, error in runs:
        assert "Traceback" not in error
        assert written == recorded == (code == 0 or epochs > 0), (run, number, code, epochs, error)
        assert code in (0, 128 + number)
        seen["written" if written else "before the first epoch"] += 1
        if written:
            losses = np.loadtxt(place / f"signalled-{run}.csv", delimiter=",", skiprows=1, ndmin=2)[
                :, 1
            ]
            assert loss(place, place / f"signalled-{run}.keras") == pytest.approx(
                losses.min(), rel=1e-4
            )
            assert losses.min() < begin
        seen[f"exit {code}"] += 1
    print(f"{TIMES} signals: {dict(seen)}")
    assert seen["written"] > TIMES / 3
    assert not list(place.glob(".*"))


class _Filling(io.FileIO):
    """A file on a disk with so much room."""

    room = math.inf

    def write(self, data: Any) -> int:
        if _Filling.room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _Filling.room -= len(data)
        return super().write(data)


def test_out_of_disk(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk with the output fills up at a random byte of it; the model's own still has room."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    model, output = Path(shutil.copy(place / "model.keras", large)), small / "fitted.keras"
    opened, random, kept, begin = (
        os.fdopen,
        np.random.default_rng(0),
        0,
        loss(place, place / "model.keras"),
    )

    def filling(descriptor: int, mode: str) -> Any:
        here = os.path.realpath(f"/proc/self/fd/{descriptor}").startswith(str(small))
        return io.BufferedRandom(_Filling(descriptor, "r+b")) if here else opened(descriptor, mode)  # type: ignore[arg-type]

    monkeypatch.setattr("bridge._src.formats.output.atomic.os.fdopen", filling)
    arguments = [
        "fit",
        str(model),
        str(place / "data.npz"),
        "-o",
        str(output),
        "--epochs",
        "3",
        "-q",
    ]
    trained: list[Any] = []
    monkeypatch.setattr(
        "bridge._src.command.fit.train",
        lambda *given, **options: trained.append(train(*given, **options)) or trained[0],
    )
    assert main(arguments) == 0
    # Fifty times the same would only take time.
    monkeypatch.setattr("bridge._src.command.fit.train", lambda *_, **__: trained[0])
    size, old = output.stat().st_size, output.read_bytes()
    expected = loss(place, output)
    for _ in range(TIMES):
        _Filling.room = int(random.integers(0, size))
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "(No space left on device)" in error
        found = Path(error.rpartition("what was trained is kept in ")[2].strip())
        assert found.parent == large
        assert loss(place, found) == expected < begin
        assert output.read_bytes() == old
        assert not list(tmp_path.rglob(".*"))
        found.unlink()
        kept += 1
    print(
        f"{TIMES} full disks: {kept} rescue files with the trained model, {TIMES} old "
        "outputs untouched"
    )


class _Faults:
    """Raises ``error`` at call number ``last`` of what it is given."""

    def __init__(self, error: Exception) -> None:
        self.error, self.calls, self.last = error, 0, 10**9

    def __call__(self) -> None:
        self.calls += 1
        if self.calls > self.last:
            raise self.error

    def within(self, function: Any) -> Any:
        """``function``, as on a device whose memory is used up."""

        def called(*arguments: Any) -> Any:
            self()
            return function(*arguments)

        return called


def _ended_by(fit: Callable[[], Any]) -> Exception | None:
    try:
        fit()
    except (OSError, jax.errors.JaxRuntimeError) as error:
        return error
    return None


def to_list(losses: list[float]) -> Callable[[int, dict[str, float]], None]:
    """A callback that adds the loss of every epoch."""
    return lambda _, logs: losses.append(logs["loss"])


@pytest.mark.parametrize("batch_size", [None, 60])
@pytest.mark.parametrize("kind", ["failing data", "out of memory"])
def test_failing(
    kind: str, batch_size: int | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the data or in the computation, at a random call."""
    import keras

    from lmjax._src.training.epochs import minibatch
    from lmjax._src.training.streaming import objective

    in_data = kind == "failing data"
    message = "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."
    fault = _Faults(
        OSError(errno.EIO, os.strerror(errno.EIO))
        if in_data
        else jax.errors.JaxRuntimeError(message)
    )
    with np.load(place / "data.npz") as data:
        x, y = data["x"], data["y"]

    def batches() -> Any:
        for first in range(0, 300, 60):
            if in_data:
                fault()
            yield x[first : first + 60], y[first : first + 60]

    for name in (
        () if in_data else ("_add_losses", "_add_gradient", "_add_linearization", "_add_curvature")
    ):
        monkeypatch.setattr(objective, name, fault.within(getattr(objective, name)))
    if not in_data:
        monkeypatch.setattr(minibatch, "one_batch", fault.within(minibatch.one_batch))
    model = keras.models.load_model(place / "model.keras", compile=False)
    model.compile(loss="mse")
    start, begin = model.get_weights(), loss(place, place / "model.keras")
    random, kept = np.random.default_rng(0), 0
    history = bridge.fit(model, batches, epochs=10, batch_size=batch_size, verbose=0).history[
        "loss"
    ]
    total = fault.calls
    for _ in range(TIMES // 2):
        model.set_weights(start)
        fault.calls, fault.last = 0, int(random.integers(total))
        losses: list[float] = []
        ended = _ended_by(
            lambda to=losses: bridge.fit(
                model, batches, epochs=10, batch_size=batch_size, verbose=0, callbacks=to_list(to)
            )
        )
        if ended is None:  # it failed in the last look at the data, when all was done
            assert losses == history
        else:
            assert hasattr(ended, "result") == bool(losses)
            assert not losses or ended.result.history["loss"] == losses  # type: ignore[attr-defined]
        assert loss(place, model) == pytest.approx(min([begin, *losses]), rel=1e-4)
        kept += bool(losses)
    print(
        f"{TIMES // 2} times {kind}, batch_size={batch_size}: {kept} after the first "
        "epoch, whose best weights are in the model"
    )
    assert kept > TIMES / 4
