"""Finds a conductivity from noisy temperatures, with its standard error: an inverse problem with a
Keras network.

    python examples/conductivity.py [--output conductivity.png] [--quick]

A rod with temperature u(x, 0) = sin(πx), cold at its ends, obeys u_t = κ u_xx with unknown κ. Sixty
sensors read u with known noise. Network and κ are fitted together: residuals of the data in units
of the noise, of the equation and its conditions so heavily weighted that they hold to well below
it, and a wide prior on the weights, without which data could not determine each of them. Then κ's
entry of the covariance is its variance with the weights unknown, and agrees with that of a fit of
the exact solution exp(-κπ²t) sin(πx), whose only unknown is κ.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import matplotlib as mpl
import numpy as np

import lmjax
import lmjax.keras

mpl.use("Agg")
import matplotlib.pyplot as plt

KAPPA, NOISE = 0.3, 0.02
EQUATION_TOLERANCE, WEIGHT_PRIOR = 1e-3, 30.0


def exact(kappa, x, t):
    return jnp.exp(-kappa * np.pi**2 * t) * jnp.sin(np.pi * x)


def measure(count=60, seed=0):
    """(positions, times, temperatures)."""
    generator = np.random.default_rng(seed)
    x, t = generator.uniform(size=(2, count))
    return x, t, np.asarray(exact(KAPPA, x, t)) + NOISE * generator.normal(size=count)


def make_residuals(network):
    def temperature(weights, x, t):
        """Zero at the ends by construction."""
        return x * (1 - x) * network(weights, jnp.stack([x, t])[None])[0, 0]

    def equation(params, x, t):
        u_t = jax.grad(temperature, argnums=2)(params["weights"], x, t)
        u_xx = jax.grad(jax.grad(temperature, argnums=1), argnums=1)(params["weights"], x, t)
        return u_t - params["kappa"] * u_xx

    def residuals(params, sensors, inside, start):
        x, t, u = sensors
        everywhere = jax.vmap(temperature, (None, 0, 0))
        return {
            "data": (everywhere(params["weights"], x, t) - u) / NOISE,
            "equation": jax.vmap(equation, (None, 0, 0))(params, *inside) / EQUATION_TOLERANCE,
            "start": (
                everywhere(params["weights"], start, jnp.zeros_like(start)) - jnp.sin(np.pi * start)
            )
            / EQUATION_TOLERANCE,
            "prior": jax.tree.map(lambda weight: weight / WEIGHT_PRIOR, params["weights"]),
        }

    return residuals, temperature


def fit_exact(sensors):
    """κ and its standard error from the solution that is known here, for comparison."""
    solution = lmjax.least_squares(
        lambda kappa, x, t, u: (exact(kappa, x, t) - u) / NOISE, np.array(0.1), sensors
    )
    return float(solution.params), float(solution.standard_errors(absolute_sigma=True))


def plot(solution, temperature, sensors, output):
    def curve(params, x, time):
        return jax.vmap(temperature, (None, 0, None))(params["weights"], x, time)

    axis = np.linspace(0, 1, 80)
    figure, panel = plt.subplots(figsize=(6, 4), layout="constrained")
    for time in (0.0, 0.2, 0.5, 1.0):
        lower, upper = solution.predict_interval(
            curve, (axis, time), 0.95, kind="confidence", absolute_sigma=True
        )
        (line,) = panel.plot(axis, exact(KAPPA, axis, time), linestyle="dashed", linewidth=1)
        panel.fill_between(
            axis, lower, upper, alpha=0.5, color=line.get_color(), label=f"t = {time:g}"
        )
    panel.scatter(sensors[0], sensors[2], s=8, color="gray", label="sensors, at all times")
    panel.set(xlabel="x", ylabel="temperature", title="95 % bands, and the truth (dashed)")
    panel.legend(loc="upper right")
    figure.savefig(output, dpi=150)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="conductivity.png", help="where the plot goes")
    parser.add_argument("--quick", action="store_true", help="a small network and few points")
    options = parser.parse_args(arguments)
    units, count = (5, 60) if options.quick else (8, 200)
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(units, activation="tanh") for _ in range(2)]
    network = lmjax.keras.from_keras(
        keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)]), dtype="float64"
    )
    residuals, temperature = make_residuals(network.pure())
    sensors, inside = measure(), np.random.default_rng(2).uniform(size=(2, count))
    start = {"weights": network.params, "kappa": np.array(0.1)}
    # Digits below the noise mean nothing.
    solver = lmjax.LevenbergMarquardt(ftol=1e-6, confirmation=1e-3, polish=False)
    solution = lmjax.least_squares(
        residuals, start, (sensors, tuple(inside), np.linspace(0, 1, 20)), solver=solver
    )
    kappa, error = (
        float(solution.params["kappa"]),
        float(solution.standard_errors(absolute_sigma=True)["kappa"]),
    )
    expected, expected_error = fit_exact(sensors)
    print(f"{solution.status.message} ({int(solution.num_steps)} steps)")
    print(f"network:        kappa = {kappa:.4f} ± {error:.4f}")
    print(f"exact solution: kappa = {expected:.4f} ± {expected_error:.4f}   (true: {KAPPA})")
    plot(solution, temperature, sensors, options.output)
    return (kappa, error), (expected, expected_error)


if __name__ == "__main__":
    main()
