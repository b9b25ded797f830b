"""What is public: the names of the faces, and nothing else in ``dir()``."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import bridge
import lmjax
import lmjax.keras

FACES = (
    "lmjax",
    "lmjax.losses",
    "lmjax.optax",
    "lmjax.extend",
    "lmjax.plots",
    "lmjax.sklearn",
    "lmjax.keras",
    "bridge",
)


@pytest.mark.parametrize("name", FACES)
def test_all_names_are_there(name):
    face = importlib.import_module(name)
    assert len(set(face.__all__)) == len(face.__all__)
    for public in face.__all__:
        assert getattr(face, public) is not None


@pytest.mark.parametrize("face", [lmjax, lmjax.keras, bridge], ids=lambda face: face.__name__)
def test_dir_shows_public_names_only(face):
    optional = {"keras", "optax", "sklearn"} if face is lmjax else set()
    assert set(dir(face)) == {*face.__all__, *optional, "__doc__", "__version__"}


def test_versions_agree():
    from importlib.metadata import version

    assert lmjax.__version__ == bridge.__version__ == lmjax.keras.__version__ == version("lmjax")


@pytest.mark.slow
def test_help_where_an_optional_package_is_missing():
    """It asks for every name that ``dir()`` shows."""
    code = (
        "import sys; sys.modules['optax'] = None; import inspect, lmjax; "
        "names = dict(inspect.getmembers(lmjax)); assert 'keras' in names and 'optax' not in names"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_other_names():
    for face in (lmjax, bridge):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            face.nothing  # noqa: B018 - what is looked up


def test_optax_is_loaded_when_it_is_asked_for():
    code = (
        "import sys, lmjax; assert 'optax' not in sys.modules; "
        "lmjax.optax.levenberg_marquardt; assert 'optax' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_folder_is_crowded():
    """About fifteen files, ``__init__`` beside them."""
    for package in (lmjax, bridge):
        root = Path(package.__file__).parent
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            assert len(list(folder.glob("*.py"))) <= 17, folder
