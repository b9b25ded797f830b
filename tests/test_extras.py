"""What is declared as an extra is not needed by the rest, and named where it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]


def _extras(name: str) -> set[str]:
    """The packages of an extra, those of the extras that it names included."""
    found: set[str] = set()
    for line in _PROJECT["optional-dependencies"][name]:
        package, _, rest = line.partition("[")
        if package == "lmjax":
            for other in rest.rstrip("]").split(","):
                found |= _extras(other)
        else:
            found.add(_bare(line))
    return found


def _bare(requirement: str) -> str:
    for mark in ">=<!;[ ":
        requirement = requirement.partition(mark)[0]
    return requirement


def test_extras_hold_what_the_commands_need() -> None:
    always = {_bare(line) for line in _PROJECT["dependencies"]}
    assert not always & {"keras", "optax", "rich", "tensorflow"}
    assert {"jax", "jaxlib", "flax", "numpy"} <= always
    assert {"keras", "tensorflow", "scikit-learn", "matplotlib", "rich"} <= _extras("demo")
    assert _extras("demo") | {"optax"} <= _extras("dev")
    assert {"keras", "optax", "rich"} <= _extras("bench")
    assert "keras" in _extras("tensorflow")


def _run(code: str, *missing: str) -> str:
    blocked = f"import sys\nfor name in {missing}: sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + code],
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()  # with returns to the beginning of a line as they are


_REFUSED = """
import pathlib, tempfile
from lmjax._src.runtime.optional import NotInstalledError
try:
    {code}
except NotInstalledError as error:
    assert isinstance(error, ImportError)
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["optax", "sklearn"])
def test_a_face_asks_for_its_package_by_name(name: str) -> None:
    for code in (f"import lmjax.{name}", f"import lmjax; lmjax.{name}"):
        said = _run(_REFUSED.format(code=code), name)
        assert said == (
            f"lmjax.{name} needs {name}, which is not installed: pip install 'lmjax[{name}]'\n"
        )


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    path = tmp_path_factory.mktemp("models") / "model.keras"
    model.save(path)
    return path


@pytest.mark.slow
def test_keras_is_asked_for_where_it_loads_a_file(model_file: Path) -> None:
    code = f"import lmjax.keras; lmjax.keras.verify({str(model_file)!r})"
    said = _run(_REFUSED.format(code=code), "keras")
    assert said == (
        "bridge.verify of a file needs keras, which is not installed: pip install 'lmjax[keras]'\n"
    )


@pytest.mark.slow
def test_commands_say_so_in_one_line(model_file: Path, tmp_path: Path) -> None:
    call = "from bridge._src.command.main import main\nprint(main({}))\n"
    export = call.format(["export", str(model_file), "-o", str(tmp_path / "saved")])
    done = _run("sys.stderr = sys.stdout\n" + export, "keras")
    refusal = (
        "a SavedModel of a file needs keras, which is not installed: pip install 'lmjax[keras]'"
    )
    assert done.splitlines() == [f"lmjax export: error: {refusal}", "2"]
    demo = call.format(["demo", "--output", str(tmp_path / "demo")])
    done = _run("sys.stderr = sys.stdout\n" + demo, "keras")
    assert done.splitlines() == ["lmjax demo: error: needs keras: pip install 'lmjax[demo]'", "2"]


_TERMINAL = """
import numpy as np, lmjax
class Terminal:
    def __init__(self, stream):
        self.stream = stream
    def isatty(self):
        return True
    def __getattr__(self, name):
        return getattr(self.stream, name)
sys.stdout = Terminal(sys.stdout)
lmjax.fit(lambda p, x: np.pi * x @ p, np.zeros((2, 1)), np.eye(2), np.ones(2), epochs=3)
"""


@pytest.mark.slow
def test_without_rich_a_plain_line_is_written_over() -> None:
    shown = _run(_TERMINAL, "rich")
    assert shown.startswith("\repoch ")
    followed, said = shown.split("\n", 1)
    assert "\r" in followed
    assert said.startswith("Stopped at the step limit")
    assert said.endswith("\n")
