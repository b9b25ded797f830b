"""tensorflow-graphics: its Levenberg-Marquardt ``minimize``, where that package installs beside the
TensorFlow at hand.
"""

from __future__ import annotations

import time

import tensorflow as tf
from tensorflow_graphics.math.optimizer import levenberg_marquardt

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression

_DAMPING = 1e-3  #: to begin with, as in the other packages


def prepare(workload: Regression, mode: Mode) -> Runner:
    """Float32, eagerly, as its documentation shows it, but for the damping, which without a better
    start than 1e-20 fails here.
    """
    start = [tf.constant(array, tf.float32) for pair in workload.start() for array in pair]
    x, y = tf.constant(workload.x, tf.float32), tf.constant(workload.y, tf.float32)

    def residuals(*weights: tf.Tensor) -> tf.Tensor:
        hidden = x
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            hidden = tf.tanh(hidden @ kernel + bias)
        return tf.reshape(hidden @ weights[-2] + weights[-1] - y, [-1])

    def measure() -> dict[str, float]:
        begin = time.perf_counter()
        levenberg_marquardt.minimize(residuals, start, max_iterations=2, regularizer=_DAMPING)
        return {"step": (time.perf_counter() - begin) / 2}

    return Runner(measure, {"step": Quantity("s", "lower")})
