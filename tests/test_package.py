"""The wheel and the sdist build, carry what they must, and work away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_CARRIED = [
    "lmjax/__init__.py",
    "lmjax/py.typed",
    "bridge/__init__.py",
    "bridge/py.typed",
    "bridge/_src/command/main.py",
    "bridge/_src/command/demonstration/thurber.json",
]
_SMOKE = """
import numpy as np, lmjax, bridge
assert "site-packages" in lmjax.__file__ and "site-packages" in bridge.__file__, (lmjax.__file__, bridge.__file__)
x = np.linspace(0, 1, 20)
solution = lmjax.least_squares(lambda p, x, y: p[0] * x + p[1] - y, np.zeros(2), (x, 3 * x + 1))
assert solution.status.success and np.allclose(solution.params, [3, 1]), solution
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist, the wheel made from the sdist; built with the
    hatchling that is installed.
    """
    folder = tmp_path_factory.mktemp("dist")
    _run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(_ROOT)],
        folder,
    )
    return folder


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_wheel_carries_both_packages(built: Path) -> None:
    (wheel,) = built.glob("lmjax-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert set(_CARRIED) <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"lmjax", "bridge"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_sdist_carries_tests_and_documents(built: Path) -> None:
    (sdist,) = built.glob("lmjax-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        *_CARRIED,
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "tests/test_package.py",
        "constraints/newest.txt",
    } <= names


@pytest.mark.slow
def test_wheel_works_away_from_the_checkout(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("lmjax-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    # The dependencies come from the interpreter that runs the tests; a .pth file makes them visible
    # behind the wheel's own files.
    python = tmp_path / "venv" / "bin" / "python"
    _run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            str(wheel),
        ],
        tmp_path,
    )
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    _run([str(python), "-c", _SMOKE], tmp_path)
    assert "usage: lmjax" in _run([str(tmp_path / "venv" / "bin" / "lmjax"), "--help"], tmp_path)
