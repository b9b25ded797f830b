"""The examples of the other Levenberg-Marquardt trainers for networks, restated: at least the
accuracy that their READMEs report.

tf-levenberg-marquardt (README of its version 1.0): sinc(10x) by 61 parameters, a loss of 1.03e-8
after 100 epochs of 20 batches; MNIST by 1 026 parameters, a test accuracy of 97.78 %.
torch-levenberg-marquardt (1.2.2): the same, 3.31e-7 after 50 epochs and 97.59 %.
"""

import keras
import numpy as np
import pytest

import bridge
import lmjax

#: sinc(10x) as NumPy has it, sin(10πx) / (10πx), in 20 000 points.
X = np.linspace(-1, 1, 20_000)[:, None]
Y = np.sinc(10 * X)

pytestmark = pytest.mark.slow


def curve(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(20, activation="tanh"), keras.layers.Dense(1)]
    )
    model.compile(loss="mse")
    assert model.count_params() == 61
    return model


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_by_steps_on_all_rows(seed):
    """Where they took 2 000 steps on batches, at most 600 on all rows."""
    history = bridge.fit(curve(seed), X, Y, epochs=600, goal=1.0265e-8, verbose=0)
    assert history.status is lmjax.Status.GOAL


def test_a_curve_in_batches():
    """Of 1 000 rows, in 100 epochs, from the middle one of five starts: a fit without noise wants a
    lower least λ than the default of fits in batches, and the scaling of whole steps.
    """
    damping = lmjax.Nielsen(initial=1e-2, floor=1e-7, first_try_limit=1 / 3)
    solver = lmjax.LevenbergMarquardt(damping=damping, scaling=lmjax.RunningMaximum())
    options = {"batch_size": 1000, "epochs": 100, "goal": 1.0265e-8, "verbose": 0}
    losses = [
        min(bridge.fit(curve(seed), X, Y, solver=solver, **options).history["loss"])
        for seed in range(5)
    ]
    assert np.median(losses) < 3.31e-7


def test_handwritten_digits():
    """Those of scikit-learn, as MNIST comes with no package here: a fifth of the 1 797 are held
    out; convolutions and tanh, as theirs, in batches. The mean of four starts is theirs on MNIST,
    97.78 %, as far as that many digits can tell: to two standard errors of a share.
    """
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = digits.images[order][..., None] / 16, digits.target[order]
    options = {"batch_size": 400, "epochs": 20, "dtype": "float32", "metrics_every": 20}
    options |= {"validation_split": 0.1, "test_data": (x[1437:], y[1437:]), "verbose": 0}
    found = [
        bridge.fit(classifier(seed), x[:1437], y[:1437], **options).test["accuracy"]
        for seed in range(4)
    ]
    theirs = 0.9778
    assert np.mean(found) >= theirs - 2 * np.sqrt(theirs * (1 - theirs) / (4 * 360))


def classifier(seed):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="tanh"),
            layers.Conv2D(6, 3, activation="tanh"),
            layers.Conv2D(4, 2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    assert model.count_params() < 1026
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    return model
