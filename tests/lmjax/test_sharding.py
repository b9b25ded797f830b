"""Data that JAX has spread over several devices, and fits on each of them."""

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


_BATCH = """
import jax, jax.numpy as jnp, numpy as np, lmjax
from jax.sharding import Mesh, PartitionSpec

jax.config.update("jax_enable_x64", True)
random = np.random.default_rng(0)
x = np.linspace(-5.0, 5.0, 40)
start = np.array([1.0, 0.0, 1.0])

def peak(p, x, y):
    return p[0] * jnp.exp(-0.5 * ((x - p[1]) / p[2]) ** 2) - y

y = peak([random.uniform(1, 5, (6, 1)), random.uniform(-2, 2, (6, 1)), random.uniform(0.4, 1.5, (6, 1))], x, 0)
y = y + 0.05 * random.normal(size=y.shape)

def fit(y, **options):
    solution = lmjax.least_squares(peak, start, (x, y), **options)
    return solution.params, solution.cost, solution.standard_errors()

def slope(y):
    return jax.grad(lambda y: lmjax.least_squares(peak, start, (x, y)).params[2])(y)

def with_solver(**options):
    return lambda y: fit(y, solver=lmjax.LevenbergMarquardt(**options))

tasks = {
    "default": fit,
    "matrix-free": with_solver(linear_solver=lmjax.ConjugateGradients()),
    "rows": with_solver(linear_solver=lmjax.QR(), jacobian_chunk=2),
    "trust region": with_solver(damping=lmjax.TrustRegion()),
    "bounds, robust": lambda y: fit(y, bounds=(np.array([0.0, -1.0, 0.1]), np.inf), loss="huber"),
    "derivative": slope,
}
mesh = Mesh(np.array(jax.devices()), ("lanes",))
assert mesh.size == 2

def spread(task, of):
    return jax.jit(jax.shard_map(task, mesh=mesh, in_specs=PartitionSpec("lanes"), out_specs=PartitionSpec("lanes")))(of)

def compare(here, there, name):
    for left, right in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(right, left[: len(right)], rtol=1e-7, atol=1e-10, err_msg=name)

for name, task in tasks.items():
    compare(jax.jit(jax.vmap(task))(y), spread(jax.vmap(task), y), name)
alone = jax.vmap(fit)(y)
compare(alone, spread(lambda y: jax.tree.map(lambda leaf: leaf[None], fit(y[0])), y[:2]), "one on each")
compare(alone, jax.pmap(fit)(y[:2]), "pmap")
print("fine")
"""


def _on_two_devices(program):
    """Runs it on two CPU devices of one machine."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "fine"


@pytest.mark.slow
def test_rows_on_two_devices():
    """The fit is that of the same rows on one, in another order of summation."""
    _on_two_devices(_FITS)


@pytest.mark.slow
def test_fits_on_each_of_two_devices():
    """Batches, single fits and derivatives inside ``shard_map`` and ``pmap`` are those of one device."""
    _on_two_devices(_BATCH)
