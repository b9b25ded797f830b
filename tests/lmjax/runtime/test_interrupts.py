"""A fit that is cut short keeps what it has: by signals, by exceptions of the data, of callbacks
and of the device, at any moment.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import Status
from lmjax._src.runtime import interrupts
from lmjax._src.runtime import slices as driving
from lmjax._src.training.following.progress import Forgiving, Progress

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3))
Y = np.sin(2 * X.sum(axis=1, keepdims=True))
SIGNALS = [
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
]


def model_fn(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]


def start():
    return {"a": RANDOM.normal(size=(3, 5)), "b": RANDOM.normal(size=(5, 1))}


class Source:
    """Batches that do ``action`` in the middle of pass ``at``, and count how often they are
    read.
    """

    def __init__(self, action=lambda: None, at=10**9):
        self.action, self.at, self.passes = action, at, 0

    def __call__(self):
        self.passes += 1
        for begin in range(0, 200, 50):
            if self.passes == self.at and begin == 100:
                self.action()
            yield X[begin : begin + 50], Y[begin : begin + 50]


def raising(error):
    def action(*_):
        raise error

    return action


def loss(params):
    return float(np.mean((np.tanh(X @ np.asarray(params["a"])) @ np.asarray(params["b"]) - Y) ** 2))


@pytest.fixture(autouse=True)
def handlers_are_restored():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with interrupts.watching() as watch:
        assert watch.received is None


@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_stream_without_another_pass(number, batch_size):
    source = Source(lambda: signal.raise_signal(number), at=20)
    result = lmjax.fit(model_fn, start(), source, epochs=50, batch_size=batch_size, verbose=0)
    assert result.status is Status.INTERRUPTED
    assert source.passes == 20
    assert loss(result.params) == pytest.approx(min(result.history["loss"]), rel=1e-9)
    assert len(set(map(len, result.history.values()))) == 1


def test_a_second_signal_does_not_wait():
    """As where the data hang; the first one raises nothing in the caller's code."""
    reached = []

    def pressed_twice():
        signal.raise_signal(signal.SIGINT)
        reached.append("after the first")
        signal.raise_signal(signal.SIGINT)
        reached.append("after the second")

    result = lmjax.fit(model_fn, start(), Source(pressed_twice, at=20), epochs=50, verbose=0)
    assert result.status is Status.INTERRUPTED
    assert reached == ["after the first"]


def test_signals_in_callbacks_and_between_slices(monkeypatch):
    def press(epoch, logs):
        if epoch == 3:
            signal.raise_signal(signal.SIGINT)

    result = lmjax.fit(model_fn, start(), X, Y, epochs=500, callbacks=press, verbose=0)
    assert (result.status, len(result.history["loss"])) == (Status.INTERRUPTED, 4)
    # Too late to cut anything short.
    result = lmjax.fit(model_fn, start(), X, Y, epochs=4, callbacks=press, verbose=0)
    assert (result.status, len(result.history["loss"])) == (Status.INTERRUPTED, 4)
    outer = []

    def inner(epoch, logs):
        outer.append(
            lmjax.fit(model_fn, start(), X, Y, epochs=500, callbacks=press, verbose=0).status
        )

    result = lmjax.fit(model_fn, start(), X, Y, epochs=500, callbacks=inner, verbose=0)
    assert (result.status, outer) == (Status.INTERRUPTED, [Status.INTERRUPTED])


def test_before_the_first_epoch_there_is_nothing_to_keep():
    for number in SIGNALS:
        with pytest.raises((KeyboardInterrupt, SystemExit)) as raised:
            lmjax.fit(
                model_fn,
                start(),
                Source(lambda: signal.raise_signal(number), at=2),  # noqa: B023
                epochs=50,
                verbose=0,
            )
        assert not hasattr(raised.value, "result")
        if number == signal.SIGINT:
            # Any other class would end the process with 1.
            assert type(raised.value) is KeyboardInterrupt
        else:
            assert raised.value.code == 128 + number


@pytest.mark.parametrize("number", SIGNALS)
def test_a_program_that_is_ended_before_the_first_epoch_ends_as_without_us(number):
    """With the exit code of the signal, and for all but Ctrl-C without a traceback."""
    program = (
        "import signal\nfrom lmjax._src.runtime import interrupts\nsignal.signal(signal.SIGHUP, "
        "signal.SIG_DFL)\n"
        f"with interrupts.watching():\n    signal.raise_signal({int(number)})\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if number == signal.SIGINT:
        assert ended.returncode == -signal.SIGINT
        assert ended.stderr.endswith("KeyboardInterrupt\n")
    else:
        assert (ended.returncode, ended.stderr) == (128 + number, "")


def test_handlers_of_the_program_are_left_alone():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("mine"))
    try:
        result = lmjax.fit(
            model_fn,
            start(),
            Source(lambda: signal.raise_signal(signal.SIGTERM), at=20),
            epochs=10,
            verbose=0,
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == ["mine"]
    assert result.status is Status.MAX_STEPS


def test_other_threads_are_not_stopped():
    results = []
    thread = threading.Thread(
        target=lambda: results.append(lmjax.fit(model_fn, start(), Source(), epochs=10, verbose=0))
    )
    with interrupts.watching() as watch:
        watch.patience, watch.heeded = 1, True
        signal.raise_signal(signal.SIGINT)
        thread.start()
        thread.join()
        with pytest.raises(interrupts.Interruption):
            interrupts.check()
    assert results[0].status is Status.MAX_STEPS


def test_a_signal_that_nobody_heeds_is_sent_again():
    def unheeding():
        with interrupts.watching() as watch:
            watch.patience = 1
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        unheeding()


@pytest.mark.parametrize(
    "error",
    [OSError(5, "Input/output error"), MemoryError(), SystemExit(3), ValueError("callback")],
)
@pytest.mark.parametrize("batch_size", [None, 50])
def test_exceptions_carry_what_was_trained(error, batch_size):
    begin = start()
    source = Source(raising(error), at=20)
    with pytest.raises(type(error)) as raised:
        lmjax.fit(model_fn, begin, source, epochs=50, batch_size=batch_size, verbose=0)
    result = raised.value.result
    assert isinstance(result, lmjax.FitResult)
    assert result.status is Status.INTERRUPTED
    assert loss(result.params) == pytest.approx(min(result.history["loss"]), rel=1e-9)
    assert loss(result.params) < loss(begin)
    assert any("`result`" in note for note in raised.value.__notes__)
    # The same exception once more, before anything is trained.
    with pytest.raises(type(error)) as raised:
        lmjax.fit(
            model_fn,
            begin,
            Source(raising(error), at=1),
            epochs=50,
            batch_size=batch_size,
            verbose=0,
        )
    assert not hasattr(raised.value, "result")


@pytest.mark.parametrize("batch_size", [None, 50])
def test_exceptions_of_callbacks_and_of_the_device(batch_size, monkeypatch):
    def fail(epoch, logs):
        if epoch == 5:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as raised:
        lmjax.fit(
            model_fn, start(), X, Y, epochs=50, batch_size=batch_size, verbose=0, callbacks=fail
        )
    assert len(raised.value.result.history["loss"]) == 6

    def exhausted(*args, **options):
        for count, item in enumerate(driving.slices(*args, **options)):
            yield item
            if count == 12:
                raise jax.errors.JaxRuntimeError(
                    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes."
                )

    monkeypatch.setattr("lmjax._src.training.epochs.epochs.slices", exhausted)
    monkeypatch.setattr("lmjax._src.training.epochs.minibatch.slices", exhausted)
    monkeypatch.setattr(driving, "SLICE_SECONDS", 0.0)
    with pytest.raises(jax.errors.JaxRuntimeError) as failed:
        lmjax.fit(model_fn, start(), X, Y, epochs=5000, batch_size=batch_size, verbose=0)
    kept = failed.value.result
    assert loss(kept.params) == pytest.approx(min(kept.history["loss"]), rel=1e-9)


class Broken:
    """Standard output whose reader has left, whose disk is full, or that was closed."""

    encoding = "ascii"

    def __init__(self, error):
        self.error, self.calls = error, 0

    def write(self, text):
        self.calls += 1
        raise self.error

    flush = write

    def isatty(self):
        return True


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(32, "Broken pipe"),
        OSError(28, "No space left on device"),
        ValueError("closed file"),
    ],
)
@pytest.mark.parametrize("verbose", [1, 2])
def test_output_that_nobody_takes_does_not_stop_a_fit(error, verbose, monkeypatch):
    output = Broken(error)
    monkeypatch.setattr("sys.stdout", output)
    with Progress(3, verbose) as line:
        for epoch in range(3):
            line.update(epoch, {"loss": 1.0})
            time.sleep(0.01)
    assert output.calls == 1
    monkeypatch.setattr("sys.stdout", None)
    with Progress(3, verbose) as line:
        line.update(1, {"loss": 1.0})


def test_characters_that_the_output_lacks():
    class Ascii(Broken):
        def __init__(self):
            self.text = ""

        def write(self, text):
            self.text += text.encode("ascii").decode()

    stream = Ascii()
    assert Forgiving(stream).write("compiling …") == 11
    assert stream.text == "compiling ?"


def test_gains_that_survive_rounding():
    """Without reading data again after an interruption: by the rows in memory."""
    source = Source(lambda: signal.raise_signal(signal.SIGINT), at=30)
    begin = start()
    result = lmjax.fit(model_fn, begin, source, epochs=50, verbose=0)
    passes = source.passes
    coarse = {name: leaf.astype(np.float16).astype(float) for name, leaf in result.params.items()}
    assert result.is_gain(result.params)
    assert result.is_gain(coarse)
    assert not result.is_gain({name: leaf + 100 for name, leaf in result.params.items()})
    assert source.passes == passes
    done = lmjax.fit(model_fn, begin, X, Y, epochs=5, verbose=0)
    assert done.is_gain(done.params)
    assert not done.is_gain(begin)
