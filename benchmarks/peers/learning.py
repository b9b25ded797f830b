"""Networks trained for so many seconds: lmjax in batches, Adam by Keras, L-BFGS by Optax; the error
on test data after them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.learning import Task

_SECONDS = {"quick": 5.0, "full": 20.0}

#: For a round of the two epochs that there are at least.
_NO_TIME = 1e-9

#: Learning rates of Adam at the start of its cosine schedule. Each has all of the seconds; the one
#: with the least training loss counts.
_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)

#: Called after each epoch with the weights, a (kernel, bias) pair a layer; returns the share of the
#: time that is spent, 1 to end.
AfterEpoch = Callable[[Any], float]
#: Puts everything back to the start and returns what trains; only that is on the clock.
Prepare = Callable[..., Callable[[AfterEpoch], None]]


def prepare(workload: Task, mode: Mode, method: str, **options: Any) -> Runner:
    """``method`` is one of the functions of this module; the losses and errors that say how far it
    came are on nobody's clock.
    """
    make, settings = {
        "lmjax": (_lmjax, ({},)),
        "adam": (_adam, tuple({"rate": rate} for rate in _RATES)),
        "lbfgs": (_lbfgs, ({},)),
    }[method]
    reset, curve = make(workload, **options), list[tuple[float, float]]()
    start, *train_data = _arrays(workload)
    loss = _full_loss(workload, *train_data)
    float(loss(start))  # compiles what is on nobody's clock
    test_data = [array.astype("float32") for array in (workload.test_x, workload.test_y)]

    def run(
        seconds: float, setting: dict[str, float]
    ) -> tuple[dict[str, float], list[tuple[float, float]]]:
        passed, spent, best = list[tuple[float, float]](), 0.0, (np.inf, np.inf)

        def after_epoch(weights: Any) -> float:
            nonlocal begin, spent, best
            jax.block_until_ready(weights)
            spent += time.perf_counter() - begin
            now = float(loss(weights))
            passed.append((spent, now))
            if now < best[0]:  # what a user keeps: the weights with the least training loss
                best = now, _error(workload, weights, *test_data)
            begin = time.perf_counter()
            return min(spent / seconds, 1.0) if len(passed) > 1 else 0.0  # two epochs at least

        train = reset(**setting)
        begin = time.perf_counter()
        train(after_epoch)
        return {
            "test error": best[1],
            "training loss": best[0],
            "epochs": len(passed),
        } | setting, passed

    def measure() -> dict[str, float]:
        runs = [run(_SECONDS[mode], setting) for setting in settings]
        numbers, passed = min(runs, key=lambda each: each[0]["training loss"])
        curve[:] = passed
        return numbers

    quantities = {
        "test error": Quantity("", "lower"),
        "training loss": Quantity("", "lower"),
        "epochs": Quantity("", "info"),
    }
    quantities |= {name: Quantity("", "info") for name in settings[0]}
    return Runner(
        measure, quantities, curve=lambda: list(curve), warm_up=lambda: run(_NO_TIME, settings[0])
    )


def _error(task: Task, weights: Any, x: np.ndarray, y: np.ndarray) -> float:
    """The mean squared error, or the share of wrong classes."""
    *hidden, (kernel, bias) = weights
    for inner_kernel, inner_bias in hidden:
        x = np.tanh(x @ np.asarray(inner_kernel) + np.asarray(inner_bias))
    outputs = x @ np.asarray(kernel) + np.asarray(bias)
    if task.classification:
        return float(np.mean(outputs.argmax(axis=1) != y.argmax(axis=1)))
    return float(np.mean((outputs - y) ** 2))


def _arrays(task: Task) -> tuple[Any, Any, Any]:
    return [(k.astype("float32"), b.astype("float32")) for k, b in task.train.start()], *(
        array.astype("float32") for array in (task.train.x, task.train.y)
    )


def _full_loss(task: Task, x: Any, y: Any) -> Any:
    import jax.numpy as jnp

    from benchmarks.peers.lmjax_fit import network

    @jax.jit
    def loss(params: Any, x: Any, y: Any) -> Any:
        outputs = network(params, x)
        if task.classification:
            return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(outputs), axis=1))
        return jnp.mean((outputs - y) ** 2)

    x, y = jnp.asarray(x), jnp.asarray(y)
    return lambda params: loss(params, x, y)


def _lmjax(task: Task, **options: Any) -> Prepare:
    import lmjax
    from benchmarks.peers.lmjax_fit import network
    from lmjax.losses import CategoricalCrossentropy

    start, x, y = _arrays(task)
    loss: Any = CategoricalCrossentropy(from_logits=True) if task.classification else "mse"

    def reset() -> Callable[[AfterEpoch], None]:
        # Shares its compiled step with every other.
        trainer = lmjax.Trainer(network, start, loss=loss, **options)
        random = np.random.default_rng(0)

        def train(after_epoch: AfterEpoch) -> None:
            share = 0.0
            while share < 1:
                order = random.permutation(len(x))
                for first in range(0, len(x), task.batch_size):
                    batch = order[first : first + task.batch_size]
                    trainer.step(x[batch], y[batch])
                share = after_epoch(trainer.params)

        return train

    return reset


def _adam(task: Task) -> Prepare:
    """One model and one compiled step for all rates, which are a variable of the optimiser's."""
    import keras

    start, x, y = _arrays(task)
    sizes = task.train.sizes
    layers = [keras.layers.Dense(size, activation="tanh") for size in sizes[1:-1]] + [
        keras.layers.Dense(sizes[-1])
    ]
    model = keras.Sequential([keras.Input((sizes[0],)), *layers])
    optimizer = keras.optimizers.Adam()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True) if task.classification else "mse"
    model.compile(optimizer=optimizer, loss=loss, jit_compile=True)
    optimizer.build(model.trainable_variables)
    made = [np.array(variable) for variable in optimizer.variables]

    class After(keras.callbacks.Callback):
        def __init__(self, after_epoch: AfterEpoch, rate: float) -> None:
            super().__init__()
            self.after_epoch, self.rate = after_epoch, rate

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            values = [variable.value for variable in self.model.trainable_variables]
            share = self.after_epoch(list(zip(values[::2], values[1::2], strict=True)))
            optimizer.learning_rate = self.rate * (1 + math.cos(math.pi * share)) / 2
            self.model.stop_training = share >= 1

    def reset(rate: float) -> Callable[[AfterEpoch], None]:
        model.set_weights([array for pair in start for array in pair])
        for variable, value in zip(optimizer.variables, made, strict=True):
            variable.assign(value)
        optimizer.learning_rate = rate
        return lambda after_epoch: model.fit(
            x,
            y,
            batch_size=task.batch_size,
            epochs=10**6,
            verbose=0,
            callbacks=[After(after_epoch, rate)],
        )

    return reset


def _lbfgs(task: Task) -> Prepare:
    import jax.numpy as jnp
    import optax

    start, x, y = _arrays(task)
    start = jax.tree.map(jnp.asarray, start)
    loss = _full_loss(task, x, y)
    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, gradient = value_and_grad(params, state=state)
        updates, state = optimizer.update(
            gradient, state, params, value=value, grad=gradient, value_fn=loss
        )
        return optax.apply_updates(params, updates), state

    def reset() -> Callable[[AfterEpoch], None]:
        state = optimizer.init(start)

        def train(after_epoch: AfterEpoch) -> None:
            params, now, share = start, state, 0.0
            while share < 1:
                params, now = jax.block_until_ready(step(params, now))
                share = after_epoch(params)

        return train

    return reset
