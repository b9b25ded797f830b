"""``import lmjax.keras`` and ``import bridge`` are two doors to one room; the first one is there
where a ``bridge.py`` of somebody else's hides the second.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]

_FIT = """
import numpy as np, keras
x = np.linspace(-1, 1, 40).reshape(-1, 1)
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
model.compile(loss="mse")
history = lmjax.keras.fit(model, x, np.sin(3 * x), epochs=5, verbose=0)
assert history.history["loss"][-1] < history.history["loss"][0]
converted = lmjax.keras.from_keras(model)
assert lmjax.keras.to_keras(converted, model) is model
model.save("model.keras")
assert isinstance(lmjax.keras.from_keras("model.keras").module, lmjax.keras.layers.KerasLayer)
try:
    lmjax.keras.from_keras("missing.keras")
except lmjax.keras.ConversionError:
    pass
else:
    raise AssertionError
"""
_THEIRS = "import bridge\nassert bridge.span() == 'mine'\n"
_OURS = "import lmjax.keras\n"


def _run(code: str, folder: Path) -> None:
    """Runs a script that lies in ``folder``, as whoever wrote it would."""
    script = folder / "script.py"
    script.write_text(code)
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("order", [_THEIRS + _OURS, _OURS + _THEIRS], ids=["before", "after"])
def test_another_bridge_beside_the_script(order: str, tmp_path: Path) -> None:
    """Each gets his own, whichever is imported first, and again at the end."""
    (tmp_path / "bridge.py").write_text("def span():\n    return 'mine'\n")
    _run(order + _FIT + _THEIRS, tmp_path)


@pytest.mark.slow
def test_a_bridge_that_uses_the_door_itself(tmp_path: Path) -> None:
    (tmp_path / "bridge.py").write_text(
        "import lmjax.keras\n\ndef span():\n    assert lmjax.keras.fit\n    return 'mine'\n"
    )
    _run(_THEIRS, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import bridge, lmjax.keras",
        "import lmjax.keras, bridge",
        "import lmjax; lmjax.keras; import bridge",
        "import lmjax.keras.layers, bridge",
        "import bridge.layers, lmjax.keras",
        "import bridge._src.training.fit, lmjax.keras",
    ],
)
def test_the_same_objects_behind_both(imports: str, tmp_path: Path) -> None:
    _run(
        imports + "\n"
        "assert set(lmjax.keras.__all__) == set(bridge.__all__)\n"
        "for name in bridge.__all__:\n"
        "    if name != 'layers':\n"
        "        assert getattr(lmjax.keras, name) is getattr(bridge, name), name\n"
        "for name in bridge.layers.__all__:\n"
        "    assert getattr(lmjax.keras.layers, name) is getattr(bridge.layers, name), name\n"
        "assert lmjax.keras.__version__ == bridge.__version__ == lmjax.__version__\n"
        "assert bridge._src.public.fit is lmjax.keras.fit\n",
        tmp_path,
    )


def test_nothing_inside_imports_bridge() -> None:
    """Which may be another's: modules of ``bridge._src`` are asked for by their full names, and
    ``import bridge._src.training`` asks for ``bridge``.
    """
    wrong = []
    for package in ("bridge/_src", "lmjax"):
        for path in sorted((_ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                asked = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module == "bridge":
                    asked = ["bridge"]
                if any(name.partition(".")[0] == "bridge" for name in asked):
                    wrong.append(f"{path.relative_to(_ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    assert not wrong
