"""sinc(10x) on [−1, 1], 20 000 points, Dense(20, tanh)–Dense(1), glorot-uniform start: below 1e-8
within 500 steps from every seed.
"""

import keras
import numpy as np
import pytest

import bridge


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 16))]
)
def test_mean_squared_error_falls_below_1e_8(seed):
    x = np.linspace(-1, 1, 20_000)[:, None]
    y = np.sinc(10 * x / np.pi)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(20, activation="tanh"), keras.layers.Dense(1)]
    )
    model.compile(loss="mse")
    # It would go on to 1e-12; the test ends with room for the rounding of the weights to float32.
    history = bridge.fit(
        model, x, y, epochs=500, verbose=0, callbacks=[lambda epoch, logs: logs["loss"] < 5e-9]
    )
    assert len(history.epoch) <= 500
    assert history.history["loss"][-1] < 1e-8
    assert float(model.evaluate(x, y, batch_size=20_000, verbose=0)) < 1e-8
