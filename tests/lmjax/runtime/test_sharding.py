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


_AXES = """
import jax, jax.numpy as jnp, numpy as np, lmjax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, get_abstract_mesh

jax.config.update("jax_enable_x64", True)
random = np.random.default_rng(0)
x = random.normal(size=(40, 2))
y, weight, start = np.sin(x[:, :1]), random.uniform(0.5, 1.5, 40), [random.normal(size=shape) for shape in ((2, 3), (3, 1))]
few = lmjax.LevenbergMarquardt(max_steps=3)
events = []
jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: events.append(name))

def model(p, x):
    return jnp.tanh(x @ p[0]) @ p[1]

def residuals(p, x, y):
    return model(p, x) - y

def fit(x, y, weight, params=start, **options):
    fitted = lmjax.fit(model, params, x, y, sample_weight=weight, validation_data=(x, y), epochs=3, verbose=0, **options)
    return fitted.params, (fitted.history["loss"], fitted.history["val_loss"], fitted.loss_at(fitted.params))

def least_squares(x, y, weight, params=start):
    solution = lmjax.least_squares(residuals, params, (x, y), solver=few, weights=weight[:, None])
    return solution.params, (solution.cost, solution.standard_errors(), solution.residuals(), solution.predict_interval(model, (x,)))

def carried(x, y, weight):
    bound = jax.tree_util.Partial(residuals, x=x, y=y)
    return lmjax.least_squares(bound, start, solver=few).params, ()

def trainer(x, y, weight):
    trainer = lmjax.Trainer(model, start)
    loss = trainer.step(x, y, weight)
    return trainer.params, loss

def multi_start(x, y, weight):
    box = [[np.full(leaf.shape, side) for leaf in start] for side in (-1.0, 1.0)]
    return None, lmjax.multi_start(0, residuals, tuple(box), (x, y), num_starts=2, solver=few).costs

def watched(x, y, weight):
    seen = get_abstract_mesh()
    return fit(x, y, weight, callbacks=[lambda *_: seen is not get_abstract_mesh()])

def batches(x, y, weight):
    return fit(x, y, weight, batch_size=15)

def compare(name, found, expected):
    for left, right in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-12, err_msg=name)  # six digits for what three steps make of rounding

meshes = [jax.make_mesh((2,), ("rows",), axis_types=(kind,)) for kind in (AxisType.Explicit, AxisType.Auto)]
for task in (fit, batches, watched, least_squares, carried, trainer, multi_start):
    expected = task(x, y, weight)
    for mesh in meshes:
        rows, whole = (NamedSharding(mesh, PartitionSpec(*names)) for names in (("rows",), ()))
        data = jax.device_put((x, y, weight), rows)
        found = task(*data)
        compare(task.__name__, found, expected)
        if found[0] is not None:
            model(found[0], data[0])  # which fails for params that do not lie on the mesh of the data
        events.clear()
        compare(task.__name__, task(*data), expected)
        assert not [name for name in events if "backend_compile" in name], task.__name__
        if task in (fit, least_squares):
            compare("params on the mesh", task(*data, params=jax.device_put(start, whole)), expected)
        with jax.set_mesh(mesh):
            if task in (least_squares, trainer, watched, multi_start):
                found = task(*data)
                compare("in the mesh", found, expected)
                if found[0] is not None:
                    model(found[0], data[0])
            if task is least_squares:
                params, _ = task(x, y, weight)
                compare("NumPy's arrays in the mesh", params, expected[0])
                model(params, data[0])

lanes = jax.vmap(lambda start: lmjax.least_squares(lambda p, x: p * x[:, 0] - 1, start, (jax.device_put(x, rows),)).params)(jnp.ones(2))
compare("starts", lanes, np.full(2, x[:, 0].sum() / (x[:, 0] ** 2).sum()))
print("fine")
"""


def _on_two_devices(program):
    """Runs it on two CPU devices of one machine."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "fine"


@pytest.mark.slow
def test_rows_on_two_devices():
    """The fit is that of the same rows on one, in another order of summation."""
    _on_two_devices(_FITS)


@pytest.mark.slow
def test_fits_on_each_of_two_devices():
    """Batches, single fits and derivatives inside ``shard_map`` and ``pmap`` are those of one
    device.
    """
    _on_two_devices(_BATCH)


@pytest.mark.slow
def test_explicit_and_automatic_axes():
    """Fits of data on either are those of data on one device; results lie on the caller's mesh, and
    second calls compile nothing.
    """
    _on_two_devices(_AXES)
