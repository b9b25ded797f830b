"""Networks trained for so many seconds: lmjax in batches, Adam by Keras, L-BFGS by Optax; the error on test data after them."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.learning import Task

_SECONDS = {"quick": 5.0, "full": 20.0}


def prepare(workload: Task, mode: Mode, method: str, **options: Any) -> Runner:
    """``method`` is one of the functions of this module; each is warm when its clock starts."""
    train = {"lmjax": _lmjax, "adam": _adam, "lbfgs": _lbfgs}[method](workload, **options)
    seconds, curve = _SECONDS[mode], list[tuple[float, float]]()
    x, y = (array.astype("float32") for array in (workload.test_x, workload.test_y))

    def measure() -> dict[str, float]:
        curve.clear()
        begin, spent, best = time.perf_counter(), 0.0, [np.inf, np.inf]

        def after_epoch(loss: float, weights: Any) -> bool:
            nonlocal begin, spent
            spent += time.perf_counter() - begin
            curve.append((spent, float(loss)))
            if loss < best[0]:  # what a user keeps: the weights with the least training loss
                best[:] = [float(loss), _error(workload, weights, x, y)]
            begin = time.perf_counter()  # the test is not on the clock
            return spent >= seconds

        train(after_epoch)
        return {"test error": best[1], "training loss": best[0], "epochs": len(curve)}

    quantities = {"test error": Quantity("", "lower"), "training loss": Quantity("", "lower"), "epochs": Quantity("", "info")}
    return Runner(measure, quantities, curve=lambda: list(curve))


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


def _lmjax(task: Task, **options: Any) -> Any:
    import lmjax
    from benchmarks.peers.lmjax_fit import network
    from lmjax.losses import CategoricalCrossentropy

    start, x, y = _arrays(task)
    loss: Any = CategoricalCrossentropy(from_logits=True) if task.classification else "mse"

    def train(after_epoch: Any) -> None:
        trainer = lmjax.Trainer(network, start, loss=loss, **options)  # shares its compiled step with every other
        random, done = np.random.default_rng(0), False
        while not done:
            order = random.permutation(len(x))
            for first in range(0, len(x), task.batch_size):
                trainer.step(x[order[first : first + task.batch_size]], y[order[first : first + task.batch_size]])
            params = trainer.params
            done = after_epoch(full_loss(params), params)

    full_loss = _full_loss(task, x, y)
    trainer = lmjax.Trainer(network, start, loss=loss, **options)
    trainer.step(x[: task.batch_size], y[: task.batch_size])
    full_loss(start)
    return train


def _full_loss(task: Task, x: Any, y: Any) -> Any:
    import jax
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


def _adam(task: Task, learning_rate: float = 1e-3) -> Any:
    import keras

    start, x, y = _arrays(task)
    sizes = task.train.sizes
    layers = [keras.layers.Dense(size, activation="tanh") for size in sizes[1:-1]] + [keras.layers.Dense(sizes[-1])]
    model = keras.Sequential([keras.Input((sizes[0],)), *layers])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True) if task.classification else "mse"
    full_loss = _full_loss(task, x, y)

    class After(keras.callbacks.Callback):
        def __init__(self, after_epoch: Any) -> None:
            super().__init__()
            self.after_epoch = after_epoch

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            weights = self.model.get_weights()
            pairs = list(zip(weights[::2], weights[1::2], strict=True))
            self.model.stop_training = self.after_epoch(full_loss(pairs), pairs)

    def train(after_epoch: Any) -> None:
        model.set_weights([array for pair in start for array in pair])
        model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss=loss, jit_compile=True)
        model.train_on_batch(x[: task.batch_size], y[: task.batch_size])  # compiles; one step more than the others have
        model.fit(x, y, batch_size=task.batch_size, epochs=10**6, verbose=0, callbacks=[After(after_epoch)])

    train(lambda *_: True)
    return train


def _lbfgs(task: Task) -> Any:
    import jax
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
        updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(params, updates), state

    def train(after_epoch: Any) -> None:
        params, state, done = start, optimizer.init(start), False
        while not done:
            params, state = jax.block_until_ready(step(params, state))
            done = after_epoch(loss(params), params)

    train(lambda *_: True)
    return train
