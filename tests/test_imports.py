"""What importing the packages loads, in a process of its own."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        ("lmjax", ["keras", "tensorflow", "flax", "torch", "rich", "sklearn"]),
        ("bridge", ["keras", "tensorflow", "torch"]),
    ],
)
def test_import_stays_light(package, heavy):
    code = (
        f"import sys, json, {package}; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.slow
def test_the_solver_works_where_keras_tensorflow_and_flax_are_missing():
    code = """
import sys
for name in ("keras", "tensorflow", "flax", "rich", "optax"):
    sys.modules[name] = None
import numpy as np, lmjax
result = lmjax.fit(lambda p, x: x @ p, np.zeros((2, 1)), np.eye(2), np.ones(2), verbose=1)
assert result.status.success
assert lmjax.least_squares(lambda p: p - 1.0, np.zeros(3)).status.success
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.slow
def test_any_module_may_be_imported_first():
    """What is imported first decides in which order modules that need each other come; tools and
    tests import single ones.
    """
    code = """
import importlib, pkgutil, sys
import bridge
import lmjax
names = [
    module.name
    for package in (bridge, lmjax)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith(".hdf5_trial")  # a program
]
assert "bridge._src.layers.activations" in names
for name in names:
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "bridge"]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
