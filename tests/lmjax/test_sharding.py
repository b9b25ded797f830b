"""Data that JAX has spread over several devices."""

import os
import subprocess
import sys

import pytest

_FITS = """
import jax, jax.numpy as jnp, numpy as np, lmjax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

rows = NamedSharding(Mesh(np.array(jax.devices()), ("rows",)), PartitionSpec("rows"))
random = np.random.default_rng(0)
x = random.normal(size=(60_000, 4)).astype("float32")
y = np.sin(x[:, :1])
start = [random.normal(size=shape).astype("float32") for shape in ((4, 10), (10, 1))]
for sample in ("auto", None):
    solver = lmjax.LevenbergMarquardt(curvature_sample=sample)
    ends = []
    for data in ((x, y), jax.device_put((x, y), rows)):
        fitted = lmjax.fit(lambda p, x: jnp.tanh(x @ p[0]) @ p[1], start, *data, epochs=5, solver=solver, verbose=0)
        ends.append(fitted.history["loss"][-1])
    assert len(jax.devices()) == 2 and abs(ends[1] / ends[0] - 1) < 1e-2, ends
    assert ends[0] < 0.05, ends
print("fine")
"""


@pytest.mark.slow
def test_rows_on_two_devices():
    """Two CPU devices of one machine: the fit is that of the same rows on one, in another order of summation."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    run = subprocess.run([sys.executable, "-c", _FITS], env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "fine"
