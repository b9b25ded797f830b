"""What goes wrong around a command ends in one line: signals, the environment, names from
strangers.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

import bridge
from bridge._src.command.failure import CommandError
from bridge._src.command.main import main
from bridge._src.description.visible import visible

_RUN = "import sys; from bridge._src.command.main import main; sys.exit(main())"


def run(*arguments, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in environment}
    given = {name: value for name, value in environment.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=kept | given,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def renamed(source, target, name):
    """A copy of a model file in which a layer has another name."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1]["config"]["name"] = config["config"]["name"] = name
                content = json.dumps(config).encode()
            new.writestr(member, content)
    return target


def test_visible():
    assert (
        visible("a\x1b[2Jb\x07\u202e\x9b1m\tü λ\nline")
        == "a\\x1b[2Jb\\x07\\u202e\\x9b1m\\tü λ\nline"
    )
    assert len(visible("x" * 100_000)) < 2100
    assert "\x1b" not in str(CommandError("\x1b[2J"))
    assert "\x1b" not in str(bridge.ConversionError("\x1b[2J"))
    assert "\n" not in str(bridge.Refusal("a\nb", "c\nd", "e\nf"))


def test_names_with_escapes_are_printed_harmlessly(model_file, tmp_path, capsys):
    path = renamed(model_file, tmp_path / "model.keras", "\x1b[2Jname\nlayer")
    code = main(["info", str(path)])
    written = "".join(capsys.readouterr())
    assert code in (0, 2)
    assert "\x1b" not in written
    assert "name" in written
    table = tmp_path / "data.csv"
    table.write_text("a,\x1b[31mb,t\n1,2,3\n2,x,4\n")
    assert (
        main(
            ["fit", str(model_file), str(table), "--target", "t", "-o", str(tmp_path / "out.keras")]
        )
        == 2
    )
    written = "".join(capsys.readouterr())
    assert "\x1b" not in written
    assert "\\x1b[31mb" in written


def test_errors_that_nobody_foresaw_are_one_line(model_file, capsys, monkeypatch):
    def failing(*arguments):
        raise RuntimeError("first line\nsecond \x1b[2J line")

    monkeypatch.setattr("bridge._src.command.info.describe_step", failing)
    assert main(["info", str(model_file)]) == 2
    assert capsys.readouterr().err == (
        "lmjax info: error: RuntimeError: first line second \\x1b[2J line; "
        "LMJAX_TRACEBACK=1 shows where\n"
    )
    monkeypatch.setenv("LMJAX_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main(["info", str(model_file)])
    monkeypatch.delenv("LMJAX_TRACEBACK")
    monkeypatch.setattr("bridge._src.command.info.describe_step", lambda *_: np.empty(1 << 58))
    assert main(["info", str(model_file)]) == 2
    assert "the memory is not enough" in capsys.readouterr().err
    monkeypatch.setattr(
        "bridge._src.command.info.describe_step",
        lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()),
    )
    assert main(["info", str(model_file)]) == 130
    assert capsys.readouterr().err == "lmjax info: interrupted; nothing was written\n"


@pytest.mark.slow
def test_an_environment_without_home_or_with_a_wrong_platform(model_file):
    code, out, err = run(
        "info", model_file, HOME=None, XDG_CACHE_HOME=None, JAX_COMPILATION_CACHE_DIR=None
    )
    assert (code, err) == (0, "")
    assert "kernel[3, 6]" in out
    code, out, err = run("info", model_file, JAX_PLATFORMS="nonsense")
    assert code == 2
    assert err.count("\n") == 1
    assert "JAX_PLATFORMS=nonsense" in err


@pytest.mark.slow
def test_tensorflow_prints_nothing(model_file, tmp_path):
    folder = tmp_path / "served"
    assert run("export", model_file, "-o", folder) == (0, f"wrote {folder}\n", "")


@pytest.mark.slow
def test_ctrl_c_while_the_command_starts(model_file):
    """Wherever it falls: in the imports, in reading, in the work."""
    command = [sys.executable, "-c", f"print(1, flush=True); {_RUN}", "info", model_file]
    interrupted, whole = 0, math.inf  # the first one tells how long the command takes
    for share in (1, 0.1, 0.2, 0.4, 0.6, 0.8):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "1\n"
            begin = time.monotonic()
            try:
                _, err = process.communicate(timeout=min(share * whole, 120))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=120)
        if share == 1:
            whole = time.monotonic() - begin
        interrupted += process.returncode == 130
        # The last of it, after the work, is Python's own end of the process, which the signal ends
        # as it ends any other.
        assert process.returncode in (0, 130) or (process.returncode, err) == (-signal.SIGINT, "")
        # Where it falls into JAX's hook of Python's garbage collector, Python says so and goes on.
        assert "Traceback" not in err or err.startswith("Exception ignored in")
    assert interrupted
