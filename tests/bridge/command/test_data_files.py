"""Files of data: read as what they say, or refused; never a sample too many, a column too many, or
zeros that nobody measured.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmjax
from bridge._src.command.data import data_files, hdf5_trial
from bridge._src.command.data.columns import Columns
from bridge._src.command.data.samples import Data
from bridge._src.command.data.table import Table, read_table
from bridge._src.command.failure import CommandError

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(1000, 3)), RANDOM.normal(size=1000)


def table(tmp_path: Path, text: str, *targets: str, header: bool | None = None) -> Table:
    path = tmp_path / "data.csv"
    path.write_text(text)
    return read_table(path, Columns(targets, header=header))


def test_a_first_line_of_numbers_is_never_guessed_wrong(tmp_path: Path) -> None:
    pandas = "0,1,2\n1.5,2.5,3.5\n4.5,5.5,6.5\n"  # DataFrame(array).to_csv(path, index=False)
    for text, target in (
        (pandas, "2"),
        ("0,1\n1,3\n", "1"),
        ("2010,2011,2012\n1.5,2,3\n", "2012"),
        ("2010,2011,2012\n1.5,2,3\n", "2"),
    ):
        with pytest.raises(CommandError, match=r"can be column names.*--header or --no-header"):
            table(tmp_path, text, target)
    named = table(tmp_path, pandas, "2", header=True)
    assert (named.features, named.targets) == (("0", "1"), ("2",))
    np.testing.assert_array_equal(np.hstack([named.x, named.y]), [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]])
    plain = table(tmp_path, pandas, "0", header=False)
    np.testing.assert_array_equal(
        np.hstack([plain.y, plain.x]), [[0, 1, 2], [1.5, 2.5, 3.5], [4.5, 5.5, 6.5]]
    )
    wavelengths = "400.5,401.7,403.1,404.2,405.0\n" + "1,2,3,4,5.5\n" * 3
    with pytest.raises(CommandError, match="can be column names"):
        table(tmp_path, wavelengths, "4")
    with pytest.raises(CommandError, match="can be column names"):
        table(tmp_path, wavelengths, "405.0")
    clear = table(tmp_path, "5.5,3,0.25\n1,2,3\n", "2")  # numbers that are no names: a sample
    np.testing.assert_array_equal(np.hstack([clear.x, clear.y]), [[5.5, 3, 0.25], [1, 2, 3]])
    with pytest.raises(CommandError, match="line 1, column 0: 'a' is not a number"):
        table(tmp_path, "a,b\n1,2\n", "1", header=False)


def test_names_with_digits_and_underscores_are_no_numbers(tmp_path: Path) -> None:
    found = table(tmp_path, "2020_01,2020_02,t\n1,2,3\n4,5,6\n", "t")
    assert found.features == ("2020_01", "2020_02")
    with pytest.raises(CommandError, match="line 2, column a: '1_000' is not a number"):
        table(tmp_path, "a,b,t\n1_000,2,3\n4,5,6\n", "t")


def test_an_index_without_a_name_is_no_input(tmp_path: Path) -> None:
    """As pandas writes it, also of several levels, and read again by pandas."""
    for text, names in (
        (",a,b,t\n0,1,2,3\n1,3,4,5\n", ("a", "b")),
        (",,a,t\nx,0,1,3\nx,1,4,5\n", ("a",)),
        ("Unnamed: 0.1,Unnamed: 0,a,t\n0,0,1,3\n", ("a",)),
        (",0,1,t\n0,1.5,2,4\n", ("0", "1")),
    ):
        found = table(tmp_path, text, "t")
        assert found.features == names
        assert "has no name and is left out" in found.remarks[0]
    found = table(tmp_path, "index,a,b\n0,1,2\n", "b")
    assert (found.features, found.remarks) == (("index", "a"), ())
    for text in ("a, ,b\n0,1,2\n", "a,b,Unnamed: 2\n0,1,2\n"):
        with pytest.raises(CommandError, match=r"column [12], counted from 0, has no name"):
            table(tmp_path, text, "b")


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """Of all places to cut it, none gives other numbers; a whole file without a last line end is
    read.
    """
    text = "a,b\n" + "".join(
        f"{x:.6f},{y:.6f}\n" for x, y in zip(X[:20, 0], np.abs(Y[:20]), strict=True)
    )
    whole = table(tmp_path, text, "b")
    for cut in range(len(text) - 120, len(text)):
        try:
            part = table(tmp_path, text[:cut], "b")
        except CommandError:
            continue
        np.testing.assert_array_equal(part.y, whole.y[: len(part.y)])
    assert len(table(tmp_path, "a,b\n1,22\n3,44", "b").y) == 2
    with pytest.raises(CommandError, match=r"line 3.*no line end.*cut off"):
        table(tmp_path, "a,b\n1,22\n3,4", "b")
    cut_lines = {
        "a,b\n1,2\n3\n": "line 3 has 1 columns",
        "a,b\n1,2\n3,\n": "cell is empty",
        "a,b\n1,\0\n": "zero bytes",
    }
    for text, words in cut_lines.items():
        with pytest.raises(CommandError, match=words):
            table(tmp_path, text, "b")


def test_very_many_columns_take_linear_time(tmp_path: Path) -> None:
    def seconds(columns: int) -> float:
        text = ",".join(f"c{k}" for k in range(columns)) + "\n" + ",".join(["1.5"] * columns) + "\n"
        begin = time.perf_counter()
        assert table(tmp_path, text, "c0").x.shape == (1, columns - 1)
        return time.perf_counter() - begin

    # Quadratic time is a hundredfold.
    assert min(seconds(45_121) for _ in range(3)) < 40 * min(seconds(4_512) for _ in range(3))
    with pytest.raises(CommandError, match=r"c0, c1, .*45121 in all") as error:
        table(tmp_path, ",".join(f"c{k}" for k in range(45_121)) + "\n", "none")
    assert len(str(error.value)) < 300


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        min_size=2,
        max_size=6,
    ),
    names=st.sampled_from([None, ["a", "b", "c"]]),
)
def test_a_table_is_read_as_it_was_written(
    rows: Any, names: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tables") / "data.csv"
    path.write_text(
        "".join(",".join(map(str, row)) + "\n" for row in ([names] if names else []) + rows)
    )
    found = read_table(path, Columns(("c" if names else "2",), header=bool(names)))
    np.testing.assert_array_equal(np.hstack([found.x, found.y]), rows)


def written(path: Path, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, **options)
        file.create_dataset("y", data=Y)
    return path


def test_hdf5_data_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "whole.h5", chunks=(100, 3), compression="gzip")
    found: Data = data_files.read(path)
    np.testing.assert_array_equal(found.x[()], X)
    with h5py.File(tmp_path / "killed.h5", "w") as file:  # whose writer stopped in the middle
        file.create_dataset("x", X.shape, chunks=(100, 3))[:300] = X[:300]
        file.create_dataset("y", data=Y)
    with h5py.File(tmp_path / "never.h5", "w") as file:
        file["x"] = X
        file.create_dataset("y", Y.shape)
    with h5py.File(tmp_path / "half.h5", "w") as file:  # in one piece, with room for all
        file.create_dataset("x", X.shape)[:300] = X[:300]
        file.create_dataset("y", Y.shape)[:300] = Y[:300]
    sources = h5py.VirtualLayout((1000, 3), float)
    sources[:] = h5py.VirtualSource(tmp_path / "missing.h5", "x", (1000, 3))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("x", sources)
        file["y"] = Y
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("x", X.shape, external=[(tmp_path / "raw.bin", 0, X.nbytes)])[:] = X
        file["y"] = Y
    for name, link in (("link", h5py.ExternalLink(path, "x")), ("soft", h5py.SoftLink("/y"))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"], file["y"] = link, Y
    with h5py.File(tmp_path / "scalar.h5", "w") as file:
        file["x"], file["y"] = 1.0, Y
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:-3000])
    for name, words in {
        "killed": r"x: 7 of the 10 parts .* never written",
        "never": r"y: 1 of the 1 parts .* never written",
        "half": "last 256 rows of x and y.*zeros throughout",
        "virtual": "x: a virtual dataset",
        "external": "x: a dataset in external storage",
        "link": r"x is a link to elsewhere \(ExternalLink\)",
        "soft": r"x is a link to elsewhere \(SoftLink\)",
        "scalar": "no array",
        "cut": "truncated",
    }.items():
        with pytest.raises(CommandError, match=f"{name}.h5: .*{words}"):
            data_files.read(tmp_path / f"{name}.h5")
    for name in ("killed", "never", "virtual", "external"):
        with (
            h5py.File(tmp_path / f"{name}.h5") as file,
            pytest.raises(ValueError, match=r"never written|other files"),
        ):
            lmjax.fit(lambda p, x: x @ p, np.zeros(3), file["x"], file["y"], verbose=0)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzf", "chunks": (100, 3)},
        {"scaleoffset": 4, "chunks": (100, 3)},
        {"libver": "latest", "chunks": (100, 3)},
    ],
)
def test_hdf5_data_that_only_the_library_reads_are_tried_in_another_process(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may crash or hang; what it can read is read."""
    path, libver = tmp_path / "data.h5", options.pop("libver", None)
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("x", data=X, **options)
        file.create_dataset("y", data=Y)
    found: Data = data_files.read(path)
    np.testing.assert_allclose(found.x[()], X, atol=1e-4)
    found.x.file.close()
    trial = tmp_path / "trial.py"
    monkeypatch.setattr(hdf5_trial, "__file__", str(trial))
    for number, words in (
        (signal.SIGKILL, "crashes on"),
        (signal.SIGALRM, "does not come to an end with"),
    ):
        trial.write_text(f"import signal\nsignal.raise_signal({int(number)})\n")
        with pytest.raises(
            CommandError, match=f"data.h5: is damaged so that the HDF5 library {words} it"
        ):
            data_files.read(path)
    trial.write_text("raise OSError")  # which the library will say again
    assert data_files.read(path).streamed


def test_a_chunk_outside_of_the_file_is_found_before_the_library_opens_it(tmp_path: Path) -> None:
    path = written(tmp_path / "data.h5", chunks=(100, 3))
    whole = bytearray(path.read_bytes())
    # Of chunks: signature, type, level, entries, two siblings; a key of 32 bytes, an address.
    tree = whole.index(b"TREE\1")
    whole[tree + 56 : tree + 64] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(whole)
    with pytest.raises(CommandError, match="refers to bytes"):
        data_files.read(path)


def test_arrays_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    for name, array in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", array)
    assert data_files.read(tmp_path).streamed
    whole = (tmp_path / "x.npy").read_bytes()
    for cut in (0, 5, 40, 128, 4000, len(whole) - 1):
        (tmp_path / "x.npy").write_bytes(whole[:cut])
        with pytest.raises(CommandError, match="whole files of plain arrays"):
            data_files.read(tmp_path)
    opened = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", shape=X.shape)
    opened[:300] = X[:300]
    np.save(tmp_path / "y.npy", np.where(np.arange(1000) < 300, Y, 0))
    opened.flush()
    with pytest.raises(CommandError, match="zeros throughout"):
        data_files.read(tmp_path)
    np.savez_compressed(tmp_path / "data.npz", x=X, y=Y)
    packed = (tmp_path / "data.npz").read_bytes()
    for cut in (0, 10, 5000, len(packed) - 1):
        (tmp_path / "data.npz").write_bytes(packed[:cut])
        with pytest.raises(CommandError, match="not a complete"):
            data_files.read(tmp_path / "data.npz")
    damaged = bytearray(packed)
    damaged[2000:2010] = bytes(10)
    (tmp_path / "data.npz").write_bytes(damaged)
    with pytest.raises(CommandError, match="not a complete"):
        data_files.read(tmp_path / "data.npz")
