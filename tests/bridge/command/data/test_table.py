"""Tables: whatever a program writes is read back the same, by the names of columns, and what may be
read in two ways, or is no table, is refused in one line.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge._src.command.data import data_files, expansion, text
from bridge._src.command.data.columns import Columns
from bridge._src.command.data.samples import Data
from bridge._src.command.failure import CommandError
from lmjax._src.runtime.optional import NotInstalledError

TARGET = Columns(("t",))
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**53), 2**53),
    st.booleans(),
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda name: name.strip() == name and not name.startswith("Unnamed: ")
)


def read(path: Path, content: str | bytes, columns: Columns = TARGET) -> Data:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return data_files.read(path, columns)


def refusal(path: Path, content: str | bytes, columns: Columns = TARGET) -> str:
    with pytest.raises(CommandError) as error:
        read(path, content, columns)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith((str(path), "--"))
    return str(error.value)


@st.composite
def frames(draw: Any) -> tuple[list[str], list[list[Any]]]:
    """Names and rows."""
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique=True))
    row = st.lists(NUMBERS, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(row, min_size=1, max_size=5))


@settings(max_examples=60, deadline=None)
@given(
    frame=frames(),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    suffix=st.sampled_from([".csv", ".csv.gz", ".tsv", ".tsv.gz"]),
    with_index=st.booleans(),
    data=st.data(),
)
def test_a_table_is_read_as_it_was_written(
    frame: Any,
    delimiter: str,
    quoting: Any,
    line_end: str,
    encoding: str,
    suffix: str,
    with_index: bool,
    data: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """By any writer, with its columns in any order, an index that has no name, and columns of text
    that are not read.
    """
    names, rows = frame
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
    index = [[""], *([number] for number in range(len(rows)))] if with_index else [[]] * 99
    note = next(f"note{k}" for k in range(9) if f"note{k}" not in names)
    writer.writerow([*index[0], *names, note])
    writer.writerows(
        [*number, *row, f"text{delimiter}"] for number, row in zip(index[1:], rows, strict=False)
    )
    content = file.getvalue().encode(encoding)
    path = tmp_path_factory.getbasetemp() / f"data{suffix}"
    order = data.draw(st.permutations(range(len(names))))
    target, *features = (names[place] for place in order)
    usual = "\t" if ".tsv" in suffix else ","
    columns = Columns(
        (target,),
        tuple(features) if data.draw(st.booleans()) else (),
        ignore=(note,),
        header=True,
        delimiter=None if delimiter == usual else delimiter,
    )
    found = read(path, gzip.compress(content, 1) if ".gz" in suffix else content, columns)
    if not columns.features:
        features = [name for name in names if name != target]
    assert (found.features, found.targets) == (tuple(features), (target,))
    numbers = np.array(rows, float)
    np.testing.assert_array_equal(found.x, numbers[:, [names.index(name) for name in features]])
    np.testing.assert_array_equal(found.y, numbers[:, [names.index(target)]])


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(st.lists(NUMBERS, min_size=2, max_size=4), min_size=1, max_size=4),
    index=st.booleans(),
)
def test_what_pandas_writes_of_an_array_is_read_rightly_or_refused(
    rows: Any, index: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its column names are numbers, and its index has no name: neither is ever a sample or an
    input.
    """
    pandas = pytest.importorskip("pandas")
    width = min(map(len, rows))
    frame = pandas.DataFrame([row[:width] for row in rows])
    path = tmp_path_factory.getbasetemp() / "data.csv"
    frame.to_csv(path, index=index)
    columns = Columns((str(width - 1),))
    if not index:
        with pytest.raises(CommandError, match=r"can be column names.*--header or --no-header"):
            data_files.read(path, columns)
        columns = columns._replace(header=True)
    found = data_files.read(path, columns)
    assert found.features == tuple(map(str, range(width - 1)))
    np.testing.assert_array_equal(np.hstack([found.x, found.y]), frame.to_numpy(float))


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    content = "id,b,t,name,a,w\n7,1,2,Anna,3,0.5\n8,4,5,Otto,6,2\n"
    path = tmp_path / "data.csv"
    chosen = Columns(("t",), features=("a", "b"), sample_weight="w")
    found = read(path, content, chosen)
    assert found.x.tolist() == [[3, 1], [6, 4]]
    assert found.sample_weight is not None
    assert found.sample_weight.tolist() == [0.5, 2]
    rest = read(path, content, Columns(("t",), ignore=("id", "name"), sample_weight="w"))
    assert rest.features == ("b", "a")
    both = read(path, content, Columns(("t", "a"), features=("b",)))
    assert both.y is not None
    assert both.y.tolist() == [[2, 3], [5, 6]]
    # To predict from, with the target or without.
    absent = Columns(("t",), features=(), ignore=("id", "name", "w"), has_targets=False)
    assert read(path, content, absent).x.tolist() == [[1, 3], [4, 6]]
    without = "id,b,name,a,w\n7,1,Anna,3,0.5\n"
    assert read(path, without, absent).x.tolist() == [[1, 3]]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (Columns(), "say with --target COLUMN .* it has id, b, t, name, a"),
        (Columns(("t", "x", "y")), "no column 'x', 'y'; it has columns id, b, t, name, a"),
        (Columns(("t",), ("c",)), "no column 'c'"),
        (Columns(("t",), ignore=("c",)), "no column 'c'"),
        (Columns(("t",), sample_weight="c"), "no column 'c'"),
        (Columns(("t",), ("t", "a")), "'t' is given to --target and --features"),
        (Columns(("t",), ("a", "a")), "--features: a is given twice"),
        (Columns(("t",)), "line 2, column name: 'Anna' is not a number; remove the column"),
        (Columns(("name",), ("a",)), "line 2, column name: .* write classes as"),
        (Columns(("t",), ("a",), sample_weight="b"), "line 3, column b: -4 is no weight"),
        (Columns(("t",), ("b",), delimiter=";"), r"say --delimiter ','"),
    ],
)
def test_a_wrong_choice_is_named(columns: Columns, words: str, tmp_path: Path) -> None:
    content = "id,b,t,name,a\n7,1,2,Anna,3\n8,-4,5,Otto,6\n"
    message = refusal(tmp_path / "data.csv", content, columns)
    assert re.search(words, message), message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a;t\n1,5;2\n", "separated by ';'; say --delimiter ';'"),
        ("a\tt\n1\t2\n", "say --delimiter tab"),
        ("a,t\n1.5,2\n2.5\n", "line 3 has 1 columns, expected 2"),
        ('a,t\n"1,5",2\n', "line 2, column a: '1,5' is not a number; write decimals with a point"),
        ('a,t\n1,"2\n', "line 2 is no line of a table"),
        ('a,t\n"1"2,2\n', "line 2 is no line of a table"),
        ("a,t\n\n1,nan\n", "line 3, column t: 'nan' is not finite"),
        ("a,a,t\n1,2,3\n", "more than one column is called a"),
        ("Größe,t\n1,2\n".encode("latin-1"), "line 1 holds the byte 0xf6, which is no UTF-8"),
        ("a,t\n1,2\né,3\n".encode("cp1252"), "line 3 holds the byte 0xe9"),
        ("a,t\n1,2\n".encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
        ("a,t\n1,2\n".encode("utf-32"), "is text in UTF-32"),
        ("a,t\n1,2\n".encode("utf-16-le"), "holds zero bytes"),
        (b"\x89HDF\r\n\x1a\n\0\0", "holds zero bytes"),
        (
            gzip.compress(b"a,t\n" + b"1,2\n" * 999, mtime=0)[:-9],
            "is cut off or damaged after line",
        ),
        (b"\x1f\x8bnothing", "is cut off or damaged after line 0"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        ("\n\n", "is empty"),
    ],
)
def test_what_is_no_table_is_refused(content: str | bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path / "data.csv", content)


def test_bombs_fill_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (text, expansion):
        monkeypatch.setattr(module, "_ALWAYS", 2**16)
    table = gzip.compress(b"a,t\n" + b"0,0\n" * 2**18)
    assert "more than 100 times its size; unpack it" in refusal(tmp_path / "data.csv.gz", table)
    monkeypatch.setattr(text, "_LONGEST_LINE", 2**16)
    line = b"0," * 2**16
    assert "line 1 has more than 65536 characters" in refusal(tmp_path / "data.csv", line)
    np.savez_compressed(tmp_path / "data.npz", x=np.zeros((10**5, 3)), y=np.zeros(10**5))
    with pytest.raises(CommandError, match=r"expands from \d+ bytes to 3200256, more than 100"):
        data_files.read(tmp_path / "data.npz")


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes")
    for suffix in (".csv", ".npz", ".h5", ".parquet"):
        os.mkfifo(tmp_path / f"data{suffix}")
        with pytest.raises(CommandError, match="is a pipe or a device and no file; give -"):
            data_files.read(tmp_path / f"data{suffix}", TARGET)


def test_standard_input_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"a,t\n1,2\n3,4\n"
    for given_bytes in (content, gzip.compress(content)):
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(given_bytes)))  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", stdin)
        assert data_files.read(Path("-"), TARGET).x.tolist() == [[1], [3]]
        assert not stdin.closed
    with pytest.raises(CommandError, match="standard input: is empty"):
        data_files.read(Path("-"), TARGET)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CommandError, match="standard input is closed"):
        data_files.read(Path("-"), TARGET)


def test_arrays_have_no_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones((3, 2)), y=np.ones(3), w=np.arange(3.0))
    found = data_files.read(tmp_path / "data.npz", Columns(sample_weight="w"))
    assert found.sample_weight is not None
    assert found.sample_weight.tolist() == [0, 1, 2]
    assert data_files.read(tmp_path / "data.npz", Columns(has_targets=False)).y is None
    for columns in (
        TARGET,
        Columns(features=("a",)),
        Columns(header=False),
        Columns(delimiter=","),
    ):
        with pytest.raises(CommandError, match=r"data.npz: --.*: for columns of a table"):
            data_files.read(tmp_path / "data.npz", columns)
    with pytest.raises(CommandError, match="no array v"):
        data_files.read(tmp_path / "data.npz", Columns(sample_weight="v"))


def test_parquet_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotInstalledError, match=r"pip install 'lmjax\[parquet\]'"):
        data_files.read(tmp_path / "data.parquet", TARGET)


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns: dict[str, Any] = {
        "b": [1, 2],
        "t": [0.5, 2.5],
        "name": ["Anna", "Otto"],
        "a": [True, False],
        "gap": [1.0, None],
        "__index_level_0__": [5, 6],
    }
    path = tmp_path / "data.parquet"
    parquet.write_table(arrow.table(columns), path)
    found = data_files.read(path, Columns(("t",), ignore=("name", "gap"), sample_weight="b"))
    assert (found.features, found.x.tolist()) == (("a",), [[1], [0]])
    assert found.sample_weight is not None
    assert found.sample_weight.tolist() == [1, 2]
    for chosen, words in (
        (Columns(("t",)), "column name holds string values"),
        (Columns(("gap",), ("a",)), "row 1, counted from 0, column gap: is null"),
        (Columns(("x",)), "no column 'x'"),
        (Columns(("t",), header=True), "--delimiter are for text"),
    ):
        with pytest.raises(CommandError, match=words):
            data_files.read(path, chosen)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CommandError, match="is no whole Parquet file"):
        data_files.read(path, TARGET)
