"""Data that do not fit into memory: the same fit, read in pieces."""

import subprocess
import sys

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import Status
from lmjax._src.plots.names import OF_STEPS
from lmjax._src.training.streaming import stream as streaming

N = 204
X = np.random.default_rng(0).normal(size=(N, 2))
Y = np.sin(X[:, :1]) + 0.3 * X[:, 1:]
WEIGHTS = np.random.default_rng(1).uniform(0, 2, N)


def model_fn(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def start(dtype=np.float64):
    generator = np.random.default_rng(0)
    params = {
        "w": generator.normal(size=(2, 5)),
        "b": generator.normal(size=5),
        "v": generator.normal(size=(5, 1)),
    }
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 32 * 70)  # about seventy rows


def on_disk(folder, name, array):
    np.save(folder / f"{name}.npy", array)
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def batches(size=64, weights=False):
    for first in range(0, N, size):
        rows = slice(first, first + size)
        yield (X[rows], Y[rows], WEIGHTS[rows]) if weights else (X[rows], Y[rows])


class PyDatasetLike:
    """The interface of keras.utils.PyDataset: indices without an end, so that iterating by them
    would never stop.
    """

    num_batches = 4

    def __getitem__(self, index):
        return X[index * 51 : (index + 1) * 51], Y[index * 51 : (index + 1) * 51]

    def on_epoch_end(self):
        pass


def fit(x, y=None, dtype=np.float64, **options):
    return lmjax.fit(
        model_fn, start(dtype), x, y, **({"epochs": 8, "verbose": 0, "l2": 1e-4} | options)
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
def test_a_stream_takes_the_steps_of_the_arrays(dtype, tmp_path):
    expected = fit(X, Y, dtype, sample_weight=WEIGHTS, validation_data=(X[:20], Y[:20]))
    maps = on_disk(tmp_path, "x", X), on_disk(tmp_path, "y", Y)
    streamed = fit(
        *maps, dtype, sample_weight=WEIGHTS, validation_data=(maps[0][:20], maps[1][:20])
    )
    tolerance = 1e-9 if dtype == np.float64 else 2e-3
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(streamed.history[name], expected.history[name], rtol=tolerance)
    assert streamed.loss_at(streamed.params) == pytest.approx(
        expected.loss_at(streamed.params), rel=1e-12 if dtype == np.float64 else 1e-5
    )
    assert np.asarray(streamed.params["w"]).dtype == dtype


@pytest.mark.slow
def test_every_kind_of_data_gives_the_same_fit(tmp_path):
    expected = fit(X, Y, epochs=3).history["loss"]
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = X, Y
        kinds = {
            "hdf5": fit(file["x"], file["y"], epochs=3),
            "one on disk": fit(on_disk(tmp_path, "x", X), Y, epochs=3),
            "list": fit(list(batches()), epochs=3),
            "function": fit(batches, epochs=3),
            "numbered": fit(PyDatasetLike(), epochs=3, validation_data=PyDatasetLike()),
            "validation only": fit(X, Y, epochs=3, validation_data=list(batches())),
        }
    for kind, result in kinds.items():
        if result is not None:
            np.testing.assert_allclose(result.history["loss"], expected, rtol=1e-9, err_msg=kind)


@pytest.mark.slow
def test_weights_in_batches():
    expected = fit(X, Y, sample_weight=WEIGHTS, epochs=3).history["loss"]
    np.testing.assert_allclose(
        fit(lambda: batches(50, weights=True), epochs=3).history["loss"], expected, rtol=1e-9
    )


@pytest.mark.slow
def test_batches_that_reuse_their_memory():
    def reusing():
        x, y = np.empty((34, 2)), np.empty((34, 1))
        for first in range(0, N, 34):
            x[:], y[:] = X[first : first + 34], Y[first : first + 34]
            yield x, y

    assert N % 34 == 0
    np.testing.assert_allclose(
        fit(reusing, epochs=3).history["loss"], fit(X, Y, epochs=3).history["loss"], rtol=1e-9
    )


def test_a_second_stream_compiles_nothing(tmp_path, caplog):
    maps = on_disk(tmp_path, "x", X), on_disk(tmp_path, "y", Y)
    fit(*maps, epochs=3)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        fit(list(batches()), epochs=4)
    assert "Compiling" not in caplog.text


def test_callbacks_and_interruption(tmp_path):
    seen = []

    def watch(epoch, logs):
        seen.append((epoch, sorted(set(logs).difference(OF_STEPS))))
        return epoch == 2

    result = fit(list(batches()), callbacks=[watch])
    assert seen == [(epoch, ["loss", "seconds"]) for epoch in range(3)]
    assert result.status is Status.STOPPED
    assert len(result.history["loss"]) == 3

    passes = 0

    def interrupted():
        nonlocal passes
        passes += 1
        yield from batches()
        if passes == 31:
            raise KeyboardInterrupt

    result = fit(interrupted, epochs=50)
    assert result.status is Status.INTERRUPTED
    assert result.loss_at(result.params) == pytest.approx(result.history["loss"][-1], rel=1e-9)


def test_a_pass_of_another_length_is_an_error():
    lengths = iter([64, 64, 50])
    with pytest.raises(ValueError, match=r"204 rows when they were read first and \d+ now"):
        fit(lambda: list(batches())[: 2 if next(lengths) == 50 else 4])
    lengths = iter([2, 4])
    with pytest.raises(ValueError, match="128 rows when they were read first and more now"):
        fit(lambda: list(batches())[: next(lengths)])


class Endless(PyDatasetLike):
    num_batches = None


@pytest.mark.parametrize(
    ("x", "y", "error", "words"),
    [
        (
            lambda: iter([(X, np.where(np.arange(N)[:, None] == 3, np.nan, Y))]),
            None,
            ValueError,
            "y: 1 of 204 rows .*row 3",
        ),
        ([(X, Y), (np.full((2, 2), np.inf), Y[:2])], None, ValueError, "x: 2 of 2 rows .*row 204"),
        ([(X, Y), (X[:, :1], Y)], None, ValueError, "piece 1 .*alike"),
        ([(X, Y[:-1])], None, ValueError, "x has 204, x has 203|x has 204, y has 203"),
        ([], None, ValueError, "no rows"),
        ([X, X], None, ValueError, r"expected batches \(x, y\).*batch 0"),
        (batches(), None, TypeError, "only once"),
        (X, None, TypeError, "no targets"),
        (3, None, TypeError, "expected arrays"),
        (Endless(), None, ValueError, "without end"),
        ([(X, Y, np.zeros(N))], None, ValueError, "all weights are zero"),
        ([(X, Y, -np.ones(N))], None, ValueError, "at least 0"),
    ],
)
def test_wrong_data_are_named(x, y, error, words):
    with pytest.raises(error, match=words):
        fit(x, y)


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="third part of each batch"):
        fit(list(batches()), sample_weight=WEIGHTS)
    with (
        h5py.File(tmp_path / "data.h5", "w") as file,
        pytest.raises(TypeError, match="pass one of its datasets"),
    ):
        fit(file, Y)
    with pytest.raises(ValueError, match="x has 10, y has 204"):
        fit(on_disk(tmp_path, "x", X[:10]), Y)
    with pytest.raises(TypeError, match="callbacks"):
        fit(X, Y, callbacks=[3])


_PEAK = """
import resource, sys, numpy, jax.numpy as jnp, lmjax

rows, folder = int(sys.argv[1]), sys.argv[2]
random = numpy.random.default_rng(0)
with open(f"{folder}/x", "wb") as x_file, open(f"{folder}/y", "wb") as y_file:
    for _ in range(0, rows, 100_000):
        part = random.standard_normal((100_000, 20), "float32")
        part.tofile(x_file)
        numpy.sin(part.sum(axis=1, keepdims=True)).tofile(y_file)
x, y = (numpy.memmap(f"{folder}/{name}", "float32", "r", shape=(rows, width)) for name, width in (("x", 20), ("y", 1)))
params = [random.standard_normal((20, 4), "float32"), random.standard_normal((4, 1), "float32")]
result = lmjax.fit(lambda p, x: jnp.tanh(x @ p[0]) @ p[1], params, x, y, epochs=2, verbose=0)
assert result.history["loss"][1] < result.history["loss"][0]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux'")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Three times the rows, 176 MB more of data, take hardly more memory; in memory they would be
    held at least once.
    """

    def peak(rows):
        run = subprocess.run(
            [sys.executable, "-c", _PEAK, str(rows), str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return int(run.stdout)

    assert peak(3_000_000) - peak(1_000_000) < 80e6
