"""Fits thousands of peaks in one compiled call on all cores, and compares the errors of their
positions with the standard errors.

python examples/many_peaks.py [--count 5000] [--output many_peaks.png]
"""

import argparse
import os
import time

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jax.sharding import Mesh, PartitionSpec

import lmjax

mpl.use("Agg")
import matplotlib.pyplot as plt

X = np.linspace(-5.0, 5.0, 64)
START = np.array([1.0, 0.0, 1.0, 0.0])
NOISE = 0.05


def residuals(params, x, y):
    height, centre, width, offset = params
    return height * jnp.exp(-0.5 * ((x - centre) / width) ** 2) + offset - y


def fit(y):
    """One peak; a failed fit, if there is one, says so in its status."""
    solution = lmjax.least_squares(residuals, START, (X, y))
    return solution.params, solution.standard_errors(), solution.status_code


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count",
        type=int,
        default=5000,
        help="how many peaks, rounded up to as many for every device",
    )
    parser.add_argument("--output", default="many_peaks.png", help="where the plot goes")
    parser.add_argument("--quick", action="store_true", help="500 peaks")
    options = parser.parse_args(arguments)
    devices = Mesh(np.array(jax.devices()), ("peaks",))  # cores, or accelerators
    count = -(-(500 if options.quick else options.count) // devices.size) * devices.size

    random = np.random.default_rng(0)
    true = random.uniform([1.0, -2.0, 0.4, 0.0], [5.0, 2.0, 1.5, 0.0], (count, 4))
    with jax.enable_x64(True):
        y = np.asarray(residuals(true.T[:, :, None], X, 0.0)) + NOISE * random.normal(
            size=(count, X.size)
        )
        every = PartitionSpec("peaks")
        fit_all = jax.jit(
            jax.shard_map(jax.vmap(fit), mesh=devices, in_specs=every, out_specs=every)
        )
        seconds = []
        for _ in range(3):  # the first call compiles
            begin = time.perf_counter()
            params, errors, status = jax.device_get(fit_all(y))
            seconds.append(time.perf_counter() - begin)
    converged = np.array([lmjax.Status(int(code)).success for code in status])
    print(
        f"{count} fits on {devices.size} devices: {seconds[-1] / count * 1e6:.1f} µs each "
        f"after a first call of {seconds[0]:.1f} s; {converged.mean():.1%} converged"
    )

    scaled = ((params[:, 1] - true[:, 1]) / errors[:, 1])[converged]
    print(
        f"positions are off by {np.sqrt(np.mean(scaled**2)):.3f} standard errors (root "
        "mean square; 1 if these are right)"
    )
    figure, panel = plt.subplots(figsize=(6, 4), layout="constrained")
    panel.hist(scaled, bins=np.linspace(-4, 4, 41), density=True, alpha=0.5, label="fits")
    normal = np.linspace(-4, 4, 200)
    panel.plot(normal, np.exp(-0.5 * normal**2) / np.sqrt(2 * np.pi), label="normal distribution")
    panel.set_xlabel("error of the position, in standard errors")
    panel.legend()
    figure.savefig(options.output, dpi=150)
    plt.close(figure)
    return converged, scaled


if __name__ == "__main__":
    # Before JAX is used: one device for each core.
    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    main()
