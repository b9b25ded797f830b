"""A word before work that will take long."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.training import forecast

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(3000, 3))
Y = np.sin(X[:, :1])


def network(params, x):
    return jnp.tanh(x @ params["kernel"]) @ params["out"]


def start(width):
    return {"kernel": RANDOM.normal(size=(3, width)), "out": np.ones((width, 1)) / width}


@pytest.fixture
def slow_machine(monkeypatch):
    """One on which everything takes long."""
    monkeypatch.setattr(forecast, "_LITTLE", 0.0)
    monkeypatch.setattr(forecast, "product_rate", lambda dtype: 1e5)


@pytest.mark.usefixtures("slow_machine")
@pytest.mark.parametrize(
    ("linear_solver", "words"),
    [
        (lmjax.Cholesky(), "An epoch will take about .* a system of 40 equations of Cholesky"),
        pytest.param(
            lmjax.ConjugateGradients(),
            "take up to .* at most 500 iterations of ConjugateGradients",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_long_epochs_are_announced_with_what_is_faster(capsys, linear_solver, words):
    solver = lmjax.LevenbergMarquardt(linear_solver=linear_solver, curvature_sample=None)
    lmjax.fit(network, start(10), X, Y, epochs=1, solver=solver)
    first = capsys.readouterr().out.splitlines()[0]
    assert re.search(words, first)
    lmjax.fit(network, start(10), X, Y, epochs=1, solver=solver, verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("slow_machine")
@pytest.mark.slow
def test_batches_are_offered_where_they_are_worth_it(capsys):
    solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.ConjugateGradients())
    lmjax.fit(network, start(10), X, Y, epochs=1, solver=solver)
    assert "With batch_size=1000 it would take about" in capsys.readouterr().out


def test_short_work_is_not(capsys):
    lmjax.fit(network, start(4), X, Y, epochs=1)
    assert "An epoch will" not in capsys.readouterr().out
