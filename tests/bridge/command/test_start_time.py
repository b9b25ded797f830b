"""``lmjax info`` is there before Keras would be."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest


def _seconds(code, *arguments):
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        check=True,
        capture_output=True,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    return time.perf_counter() - begin


@pytest.mark.slow
def test_info_takes_less_than_one_and_a_half_imports_of_keras(model_file):
    info = (
        "import sys; from bridge._src.command.main import main; sys.exit(main(['info', "
        "sys.argv[1]]))"
    )
    # Best of two, taken in turns: the machine may be busy with something else.
    pairs = [(_seconds(info, model_file), _seconds("import keras")) for _ in range(2)]
    ours, keras = (min(column) for column in zip(*pairs, strict=True))
    assert ours < 1.5 * keras
