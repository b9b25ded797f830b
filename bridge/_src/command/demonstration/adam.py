"""Adam in Keras with a limit on the wall clock."""

from __future__ import annotations

import time
from types import ModuleType
from typing import NamedTuple

from bridge._src.command.demonstration.problems import Problem
from bridge._src.typing import KerasModel
from lmjax._src.typing import NumpyArray

LEARNING_RATES = (1e-3, 1e-2)
BATCH_SIZE = 32


class Curve(NamedTuple):
    """Training loss against seconds since the fit began."""

    label: str
    seconds: list[float]
    losses: list[float]


def train(
    keras: ModuleType,
    problem: Problem,
    start: list[NumpyArray],
    budget: float,
    learning_rate: float,
) -> tuple[KerasModel, Curve]:
    """The model that Adam makes of the same start in ``budget`` seconds, and its losses after every
    epoch.

    One epoch on throw-away weights goes first, so that Keras' own tracing and compiling is not in
    the budget. The losses are Keras' running means over an epoch.
    """
    model = problem.build(keras)
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss=model.loss)
    model.fit(*problem.train, batch_size=BATCH_SIZE, epochs=1, verbose=0)
    model.set_weights(start)
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        if variable.path != model.optimizer.learning_rate.path:
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    curve = Curve(f"Adam, learning rate {learning_rate:g}", [], [])
    begin = time.perf_counter()

    def watch(epoch: int, logs: dict[str, float]) -> None:
        del epoch
        curve.seconds.append(time.perf_counter() - begin)
        curve.losses.append(logs["loss"])
        model.stop_training = curve.seconds[-1] >= budget

    callback = keras.callbacks.LambdaCallback(on_epoch_end=watch)
    model.fit(
        *problem.train, batch_size=BATCH_SIZE, epochs=1_000_000, verbose=0, callbacks=[callback]
    )
    return model, curve
