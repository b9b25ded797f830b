"""Losses of the user's own are called as they are where Keras computes by JAX; in a process of
their own, since the other tests have Keras on TensorFlow.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_losses_of_ones_own_are_called() -> None:
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == ["quartic", "Quartic", "concave", "untraceable", "done"]


def _main() -> None:
    import keras

    import bridge

    x = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    y = x[:, :2] + 0.1 * x[:, 1:] ** 2

    def quartic(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean((y_true - y_pred) ** 4, axis=-1)

    class Quartic(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return quartic(y_true, y_pred)

    def concave(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.log(1 + (y_true - y_pred) ** 2), axis=-1)

    def untraceable(y_true: Any, y_pred: Any) -> Any:
        return float(keras.ops.mean(y_pred))

    def fitted(loss: Any) -> tuple[Any, Any]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(loss=loss)
        return model, bridge.fit(model, x, y, epochs=12, verbose=0)

    warnings.simplefilter("error")
    for loss in (quartic, Quartic(reduction="sum")):
        model, history = fitted(loss)
        losses, wanted = history.history["loss"], model.evaluate(x, y, batch_size=20, verbose=0)
        assert np.isclose(losses[-1], wanted, rtol=1e-5), (losses, wanted)
        assert losses[-1] < 0.05 * losses[0], losses
        print(getattr(loss, "__name__", type(loss).__name__))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, history = fitted(concave)
    assert "'concave' of module __main__ is not convex" in str(caught[0].message), caught
    assert history.history["loss"][-1] < history.history["loss"][0]
    print("concave")
    with pytest.raises(
        ValueError, match="'untraceable' of module __main__ cannot be called by JAX"
    ):
        fitted(untraceable)
    print("untraceable")
    print("done")


if __name__ == "__main__":
    _main()
