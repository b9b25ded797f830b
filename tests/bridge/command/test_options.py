"""Options stand anywhere, several names go by commas, and shells complete all of it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from itertools import chain, permutations
from pathlib import Path

import pytest

from bridge._src.command import running
from bridge._src.command.data.column_options import columns_of
from bridge._src.command.main import main


def test_options_stand_anywhere() -> None:
    """In each order, MODEL and DATA are what they are."""
    parser = running.make_parser()
    parts = [["--target", "t,u"], ["-o", "out.keras"], ["--no-header"], ["M"], ["D"]]
    orders = [list(chain(*order)) for order in permutations(parts)]
    expected = parser.parse_args(["fit", *orders[0]])
    assert (expected.model, expected.data) == (Path("M"), Path("D"))
    for order in orders:
        if order.index("M") < order.index("D"):
            assert parser.parse_args(["fit", *order]) == expected


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a"], ("a",)),
        (["a,b"], ("a", "b")),
        (["a, b"], ("a", "b")),
        (["a", "b"], ("a", "b")),
        (['"a,b",c d'], ("a,b", "c d")),
    ],
)
def test_names_of_columns(given: list[str], names: tuple[str, ...]) -> None:
    features = [word for name in given for word in ("--features", name)]
    options = running.make_parser().parse_args(["predict", "M", "D", *features])
    assert columns_of(options, has_targets=False).features == names
    assert options.target == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--features", "a,,b"], "expected names separated by commas, given 'a,,b'"),
        (["--features", ""], "expected names separated by commas, given ''"),
        (["--features", '"a'], "expected names separated by commas"),
        (["--delimiter", "ab"], "expected one character, tab, comma, semicolon, space"),
        (["--delimiter", "\n"], "expected one character"),
        (["--target", "a", "b"], "unrecognized arguments: b; several columns go by commas"),
    ],
)
def test_wrong_options(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["predict", "M", "D", *arguments])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_signs_by_name() -> None:
    for text, sign in (
        ("tab", "\t"),
        ("\\t", "\t"),
        ("semicolon", ";"),
        (";", ";"),
        ("space", " "),
    ):
        options = running.make_parser().parse_args(["evaluate", "M", "D", "--delimiter", text])
        assert columns_of(options).delimiter == sign


def test_completion(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    for shell in ("bash", "zsh", "tcsh"):
        with pytest.raises(SystemExit) as stop:
            main(["--print-completion", shell])
        assert stop.value.code == 0
        script = capsys.readouterr().out
        assert "evaluate" in script
        assert "--sample-weight" in script or shell == "tcsh"


def test_completion_needs_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lmjax: error: --print-completion needs shtab")
    assert "pip install 'lmjax[completion]'" in error


def test_the_package_is_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lmjax", "--version"])
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # which the command leaves as it is
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("lmjax", run_name="__main__")
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("lmjax ")


@pytest.mark.slow
def test_the_program_runs_beside_another_bridge(tmp_path: Path) -> None:
    (tmp_path / "bridge.py").write_text("def span(): return 'mine'")
    command = [sys.executable, "-m", "lmjax", "--version"]
    root = str(Path(running.__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout[:6], done.stderr) == ("lmjax ", "")
