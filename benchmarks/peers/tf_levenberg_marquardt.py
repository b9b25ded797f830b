"""tf-levenberg-marquardt: its training step called directly, with its defaults, from the same
start.
"""

from __future__ import annotations

import os
import time

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf
import tf_levenberg_marquardt as tflm

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression


def prepare(workload: Regression, mode: Mode, steps: int | None = None) -> Runner:
    """The package's defaults: float32, QR, Jacobian in slices of 100 rows, run eagerly."""
    pairs = workload.start()
    layers = [
        keras.layers.Dense(kernel.shape[1], activation="tanh") for kernel, _ in pairs[:-1]
    ] + [keras.layers.Dense(pairs[-1][0].shape[1])]
    model = keras.Sequential([keras.Input((pairs[0][0].shape[0],)), *layers])
    start = [array.astype("float32") for pair in pairs for array in pair]
    x, y = (tf.constant(array, tf.float32) for array in (workload.x, workload.y))
    wrapper = tflm.model.ModelWrapper(model)
    wrapper.compile(loss=tflm.loss.MeanSquaredError())
    steps = steps or (2 if mode == "quick" else 10)
    loss_name = f"mse after {steps} steps"

    def run(steps: int) -> dict[str, float]:
        model.set_weights(start)
        wrapper.trainer.reset_damping_factor()
        begin = time.perf_counter()
        for _ in range(steps):
            loss, *_ = wrapper.trainer.train_step(x, y)
        loss = float(loss)
        return {"step": (time.perf_counter() - begin) / steps, loss_name: loss}

    quantities = {"step": Quantity("s", "lower"), loss_name: Quantity("", "info")}
    return Runner(lambda: run(steps), quantities, warm_up=lambda: run(1))
