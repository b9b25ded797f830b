"""Compiled programs are kept by the command, and only by the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from bridge._src.command import compilation_cache
from bridge._src.command.main import main
from lmjax._src.self_check import outcomes

_RUN = "import sys; from bridge._src.command.main import main; sys.exit(main())"
_OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.mark.slow
@pytest.mark.parametrize(("variable", "kept"), [("", True), ("off", False)])
def test_the_command_keeps_compiled_programs(
    variable: str, kept: bool, model_file: Path, npz_file: Path, tmp_path: Path
) -> None:
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path),
        "LMJAX_COMPILATION_CACHE": variable,
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [
        sys.executable,
        "-c",
        _RUN,
        "fit",
        str(model_file),
        str(npz_file),
        "-o",
        str(tmp_path / "fitted.keras"),
        "--epochs",
        "1",
        "-q",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert bool(list(tmp_path.rglob("*_run_epochs*"))) is kept


@pytest.mark.parametrize(("command", "kept"), [("check", False), ("info", True)])
def test_the_check_compiles_what_it_tries(
    command: str, kept: bool, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched: list[str] = []
    monkeypatch.setattr(compilation_cache, "switch_on", lambda: switched.append(command))
    monkeypatch.setattr(outcomes, "_CHECKS", {})
    monkeypatch.setattr(
        sys, "argv", ["lmjax", command, *([str(model_file)] if command == "info" else [])]
    )
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    assert main() == 0
    assert bool(switched) is kept


@pytest.mark.slow
def test_a_call_from_python_leaves_the_configuration_alone(
    model_file: Path, npz_file: Path, tmp_path: Path
) -> None:
    before = [getattr(jax.config, option) for option in _OPTIONS]
    assert (
        main(
            [
                "fit",
                str(model_file),
                str(npz_file),
                "-o",
                str(tmp_path / "fitted.keras"),
                "--epochs",
                "1",
                "-q",
            ]
        )
        == 0
    )
    assert [getattr(jax.config, option) for option in _OPTIONS] == before


@pytest.mark.slow
def test_programs_from_the_cache_are_taken_without_a_word(
    model_file: Path, npz_file: Path, tmp_path: Path
) -> None:
    """Also as ``python -m lmjax``, where JAX is loaded before the command can say how much it is to
    print.
    """
    command = [sys.executable, "-m", "lmjax", "fit", str(model_file), str(npz_file), "-q"]
    command += ["-o", str(tmp_path / "fitted.keras"), "--epochs", "1"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    del environment["TF_CPP_MIN_LOG_LEVEL"]
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("", "")
