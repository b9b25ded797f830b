"""Every code block of the README is executed, in order, in one folder; commands that install are
checked, not run.
"""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest

from bridge._src.command.main import main

_ROOT = Path(__file__).parents[1]
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", _README, re.DOTALL | re.MULTILINE)


def test_readme_code_blocks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    _write_measurements(tmp_path / "measurements.csv")
    assert {language for language, _ in _BLOCKS} == {"python", "sh"}
    for language, code in _BLOCKS:
        if language == "python":
            exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        else:
            for line in code.splitlines():
                _run(shlex.split(line, comments=True))
    capsys.readouterr()
    assert (tmp_path / "fitted.keras").exists()


def _write_measurements(path: Path) -> None:
    x = np.linspace(-1, 1, 40)
    np.savetxt(
        path,
        np.stack([x, np.sinc(3 * x)], axis=1),
        delimiter=",",
        header="position,height",
        comments="",
    )


def _run(command: list[str]) -> None:
    if not command:
        return
    if command[0] == "make":
        assert re.search(rf"^{command[1]}:", (_ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        assert command[0] == "lmjax"
        assert main(command[1:]) == 0


def test_readme_installs_extras_that_exist() -> None:
    extras = set(re.findall(r"lmjax\[([\w-]+)\]", _README))
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    assert extras
    assert extras <= set(project["optional-dependencies"])


def test_readme_table_is_the_one_of_the_registry() -> None:
    script = runpy.run_path(str(_ROOT / "docs" / "support_table.py"))
    assert script["replaced"](_README) == _README, "run make table"
    assert "Conv1D–3D" in script["table"]()
