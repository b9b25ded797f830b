"""Solves Poisson's equation with a Keras network: Levenberg-Marquardt, Adam and L-BFGS in the same
seconds.

    python examples/poisson.py [--seconds 15] [--seed 0] [--output poisson.png] [--quick]

-Δu = f on the unit square, u = 0 on its boundary, with f such that u = sin(πx) sin(2πy). The
network is a Keras model, converted to a pure function, so that residuals may contain its
derivatives in x and y.
"""

import argparse
import os
import time
from functools import partial

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import matplotlib as mpl
import numpy as np
import optax

import lmjax
import lmjax.keras

mpl.use("Agg")
import matplotlib.pyplot as plt

RATES = (3e-2, 1e-2, 3e-3, 1e-3)  #: of Adam, at the start of its schedule

PROGRAMS = []  #: the names of those that JAX has compiled


def note(event, *_, **more):
    if event == "/jax/core/compile/backend_compile_duration":
        PROGRAMS.append(more.get("fun_name"))


jax.monitoring.register_event_duration_secs_listener(note)


def exact(points):
    return jnp.sin(np.pi * points[..., 0]) * jnp.sin(2 * np.pi * points[..., 1])


def source(points):
    return 5 * np.pi**2 * exact(points)


def make_residuals(network):
    """Residuals of the equation inside and of the boundary condition, scaled so that their squares
    add up to means.
    """

    def value(params, point):
        return network(params, point[None])[0, 0]

    def laplacian(params, point):
        return jnp.trace(jax.hessian(value, argnums=1)(params, point))

    def residuals(params, interior, boundary):
        inside = jax.vmap(laplacian, (None, 0))(params, interior) + source(interior)
        on_edge = network(params, boundary)[:, 0]
        return inside / len(interior) ** 0.5, 10 * on_edge / len(boundary) ** 0.5

    return residuals


def points(count, seed=0):
    """Random points inside the square and evenly spaced ones on its boundary."""
    interior = np.random.default_rng(seed).uniform(size=(count, 2))
    side = np.linspace(0, 1, count // 16)
    zero, one = np.zeros_like(side), np.ones_like(side)
    boundary = np.concatenate(
        [np.stack(pair, axis=1) for pair in ((side, zero), (side, one), (zero, side), (one, side))]
    )
    return interior, boundary


def timed(advance, carry, seconds):
    """(seconds, losses, params): calls ``advance`` until the time is up.

    It is told what share of the time is spent. Two rounds go before, the second from what the first
    returns: a state after a step may be of another type than the first one, and have a program of
    its own. None may be compiled later.
    """
    jax.block_until_ready(advance(advance(carry, 0.0)[0], 0.0))
    compiled = len(PROGRAMS)
    clock, losses, start = [0.0], [], time.perf_counter()
    while clock[-1] < seconds:
        carry, loss = advance(carry, clock[-1] / seconds)
        losses.append(float(loss))
        clock.append(time.perf_counter() - start)
    if len(PROGRAMS) > compiled:
        raise RuntimeError(f"compiled on the clock: {PROGRAMS[compiled:]}")
    return np.array(clock[1:]), np.array(losses), carry[0]


def levenberg_marquardt(residuals, params, data, seconds):
    solver = lmjax.LevenbergMarquardt()

    @jax.jit
    def advance(carry, share):
        del share
        params, state = solver.step(residuals, carry[0], carry[1], data)
        return (params, state), state.cost

    return timed(advance, (params, solver.init(residuals, params)), seconds)


def by_optax(optimizer, steps, residuals, params, data, seconds, schedule=jnp.ones_like):
    """An Optax optimiser, ``steps`` steps a call, so that calling costs nothing; ``schedule``
    scales updates by the time that is spent.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def cost(params):
        return 0.5 * sum(jnp.vdot(r, r) for r in residuals(params, *data))

    def step(scale, carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(cost)(params)
        updates, state = optimizer.update(
            gradient, state, params, value=value, grad=gradient, value_fn=cost
        )
        updates = jax.tree.map(lambda update: scale * update, updates)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def advance(carry, share):
        carry, values = jax.lax.scan(partial(step, schedule(share)), carry, None, steps)
        return carry, values[-1]

    return timed(advance, (params, optimizer.init(params)), seconds)


def cosine(share):
    """From 1 to 0 as time goes by: without a schedule Adam's last steps are as long as its
    first.
    """
    return (1 + jnp.cos(np.pi * share)) / 2


def problem(units, count, seed=0):
    """(model, network, params, data, residuals): a Keras model of so many units a layer, and what
    it is fitted to at so many points.
    """
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(units, activation="tanh") for _ in range(2)]
    model = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])
    converted = lmjax.keras.from_keras(model, dtype="float64")
    network = converted.pure()
    params = jax.tree.map(jnp.asarray, converted.params)
    return model, network, params, tuple(map(jnp.asarray, points(count))), make_residuals(network)


def relative_error(network, params):
    """Of u, at points that no optimiser has seen."""
    test = jnp.asarray(np.random.default_rng(1).uniform(size=(2000, 2)))
    return jnp.sqrt(
        jnp.mean((network(params, test)[:, 0] - exact(test)) ** 2) / jnp.mean(exact(test) ** 2)
    )


def adam(rate, *given):
    return by_optax(optax.adam(rate), 50, *given, cosine)


def lbfgs(*given):
    return by_optax(optax.lbfgs(), 10, *given)


def plot(runs, network, output):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, (clock, losses, _) in runs.items():
        left.loglog(clock, np.minimum.accumulate(losses), label=name)
    left.set(xlabel="seconds", ylabel="½ mean squared residual")
    left.legend(loc="lower left")
    axis = np.linspace(0, 1, 60)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    params = runs["Levenberg-Marquardt"][2]
    error = network(params, grid.reshape(-1, 2)).reshape(60, 60) - exact(grid)
    image = right.imshow(error, origin="lower", extent=(0, 1, 0, 1))
    right.set(xlabel="x", ylabel="y", title="error of u after Levenberg-Marquardt")
    figure.colorbar(image)
    figure.savefig(output, dpi=150)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="for each optimiser, compilation apart"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the network's first weights, on which the errors depend by a factor of four",
    )
    parser.add_argument("--output", default="poisson.png", help="where the plot goes")
    parser.add_argument("--quick", action="store_true", help="a small network for two seconds each")
    options = parser.parse_args(arguments)
    seconds, units, count = (2.0, 8, 128) if options.quick else (options.seconds, 16, 512)
    with jax.enable_x64(True):
        model, network, params, data, residuals = problem(units, count, options.seed)
        runs = {"Levenberg-Marquardt": levenberg_marquardt(residuals, params, data, seconds)}
        for rate in (1e-2,) if options.quick else RATES:
            runs[f"Adam {rate:g}"] = adam(rate, residuals, params, data, seconds)
        runs["L-BFGS"] = lbfgs(residuals, params, data, seconds)
        print(
            f"{sum(leaf.size for leaf in jax.tree.leaves(params))} weights, {count} "
            f"points inside, {seconds:g} s for each optimiser"
        )
        for name, (_, losses, fitted) in runs.items():
            error = relative_error(network, fitted)
            print(
                f"{name:20} cost {losses.min():9.2e}   relative error of u {error:9.2e}   "
                f"after {len(losses)} calls"
            )
        plot(runs, network, options.output)
    # The Keras model is now the solution.
    lmjax.keras.to_keras(runs["Levenberg-Marquardt"][2], model)
    return runs


if __name__ == "__main__":
    main()
