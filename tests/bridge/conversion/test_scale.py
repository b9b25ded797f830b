"""Conversion is fast for deep models and holds at most one extra copy of the weights of large
ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import bridge

_ROOT = Path(__file__).parents[3]
_MEGABYTES = 400  #: of 100 million float32

_MEMORY = """
import gc, json, sys
import jax, keras
import bridge, bridge._src.formats.archive

def status(field):
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1]) / 1000

source = sys.argv[1]
layers = [keras.layers.Dense(5000, use_bias=False, kernel_initializer="zeros") for _ in range(4)]
model = keras.Sequential([keras.Input((5000,)), *layers])
if source:
    model.save(source)
    del model, layers
    model = source
jax.numpy.zeros(1).block_until_ready()
gc.collect()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
converted = bridge.from_keras(model)
print(json.dumps([converted.table.num_params, status("VmHWM") - before]))
"""


def test_a_model_of_100_layers_converts_in_two_seconds(keras: Any) -> None:
    model = keras.Sequential(
        [keras.Input((4,)), *[keras.layers.Dense(4, "tanh") for _ in range(100)]]
    )
    begin = time.process_time()
    converted = bridge.from_keras(model)
    assert time.process_time() - begin < 2
    assert len(converted.table) == 200


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux' /proc"
)
@pytest.mark.parametrize("source", ["", "large.keras"])
def test_100_million_parameters_need_one_extra_copy_at_most(source: str, tmp_path: Path) -> None:
    """A live model: the copy that is returned. A file: that, and the bytes of the weights file."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(_ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", _MEMORY, source],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    count, megabytes = json.loads(run.stdout.splitlines()[-1])
    assert count == 100_000_000
    assert _MEGABYTES * 0.9 < megabytes < _MEGABYTES * (2.15 if source else 1.15)
