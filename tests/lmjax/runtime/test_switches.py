"""JAX's own switches, as users set them: fits work, and the switches are as before."""

from __future__ import annotations

import contextlib
import multiprocessing
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.runtime import precision

X = np.linspace(0.0, 3.0, 20)
Y = 2.5 * np.exp(-1.3 * X) + 0.4 + 0.02 * np.sin(9 * X)
START = {"a": np.array(1.0), "b": np.array([0.5]), "c": np.array(0.0)}

SWITCHES = {
    "strict dtypes": ("jax_numpy_dtype_promotion", lambda: jax.numpy_dtype_promotion("strict")),
    "raising ranks": ("jax_numpy_rank_promotion", lambda: jax.numpy_rank_promotion("raise")),
    "no transfers": ("jax_transfer_guard_host_to_device", lambda: jax.transfer_guard("disallow")),
}


def residuals(p, x, y):
    return p["a"] * jnp.exp(-p["b"] * x) + p["c"] - y


def everything(solver=None):
    solution = lmjax.least_squares(
        residuals, START, (X, Y), solver=solver, bounds=({"a": 0.0, "b": 0.0, "c": None}, None)
    )
    popt, pcov = lmjax.curve_fit(lambda x, a, b: a * jnp.exp(-b * x), X, Y)
    ranked = lmjax.multi_start(
        0, residuals, (START, jax.tree.map(lambda leaf: leaf + 1.0, START)), (X, Y), num_starts=3
    )
    trained = lmjax.fit(lambda p, x: x @ p, np.zeros((1, 1)), X[:, None], Y, epochs=3, verbose=0)
    bands = solution.predict_interval(lambda p, x: residuals(p, x, 0.0), (X,))
    leaves = (
        solution.params,
        solution.standard_errors(),
        popt,
        pcov,
        ranked.best.params,
        trained.params,
        bands,
    )
    return [np.asarray(leaf) for leaf in jax.tree.leaves(leaves)]


@pytest.fixture(scope="module")
def usual():
    return everything()


@pytest.mark.slow
@pytest.mark.parametrize("name", SWITCHES)
def test_fits_under_a_switch_are_those_without(name, usual):
    option, switch = SWITCHES[name]
    with switch():
        before = getattr(jax.config, option)
        got = everything()
        assert getattr(jax.config, option) == before
    for one, other in zip(got, usual, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["strict dtypes", "raising ranks"])
def test_traced_fits_under_a_switch(name):
    def rate(y):
        return lmjax.least_squares(residuals, START, (X, y)).params["b"][0]

    with jax.enable_x64(True):
        expected = jax.jit(jax.value_and_grad(rate))(jnp.asarray(Y))
        with SWITCHES[name][1]():
            got = jax.jit(jax.value_and_grad(rate))(jnp.asarray(Y))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_callers_code_runs_under_the_callers_switches():
    seen = []
    with jax.numpy_dtype_promotion("strict"):
        callbacks = (lambda epoch, logs: seen.append(jax.config.jax_numpy_dtype_promotion),)
        lmjax.fit(
            lambda p, x: x @ p,
            np.zeros((1, 1)),
            X[:, None],
            Y,
            epochs=2,
            verbose=0,
            callbacks=callbacks,
        )
    assert set(seen) == {"strict"}


@pytest.mark.slow
def test_without_jit_after_a_fit_with_it():
    few = slice(0, 4)

    def solve():
        solver = lmjax.LevenbergMarquardt(max_steps=40)
        return lmjax.least_squares(
            lambda p, x, y: p * x - y, np.array(1.0), (X[few], Y[few]), solver=solver
        ).params

    expected = solve()
    with jax.disable_jit():
        np.testing.assert_allclose(solve(), expected, rtol=1e-12)
    np.testing.assert_array_equal(solve(), expected)


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here"
)
def test_a_fork_after_a_fit_is_warned_of():
    """By JAX, whose threads the child would wait for."""
    lmjax.least_squares(lambda p: p - 1.0, np.zeros(2))
    child = multiprocessing.get_context("fork").Process(target=int)
    with pytest.warns(RuntimeWarning, match="fork"):
        child.start()
    child.join(20)
    assert child.exitcode == 0


MATRIX = np.random.default_rng(0).normal(size=(20, 2))


def _matrix_model(p, x):
    return jnp.tanh(x @ p) @ jnp.ones((2, 1), x.dtype)


def _programs():
    """Of a residual function and a model with products of the caller's: what is traced of them, as
    JAX lowers it.
    """
    start, data = (
        jnp.ones((2, 2), jnp.float32),
        (jnp.asarray(MATRIX, jnp.float32), jnp.ones((20, 1), jnp.float32)),
    )

    def residual_fn(p, x, y):
        return _matrix_model(p, x) - y

    def solve(p, x, y):
        solution = lmjax.least_squares(residual_fn, p, (x, y))
        return solution.params, solution.cost

    def step(p, x, y):
        solver = lmjax.LevenbergMarquardt()
        return solver.step(residual_fn, p, solver.init(residual_fn, p), (x, y))

    def gradient(x, y):
        return jax.grad(lambda y: jnp.sum(solve(start, x, y)[0]) + solve(start, x, y)[1])(y)

    return {
        "least_squares": (solve, (start, *data)),
        "step": (step, (start, *data)),
        "gradient": (gradient, data),
    }


@pytest.mark.parametrize("name", ["least_squares", "step", "gradient"])
def test_every_product_is_of_highest_precision(name):
    """In the lowered program: accelerators round the factors to 10 bits otherwise."""
    function, args = _programs()[name]
    assert _precisions(jax.jit(function).lower(*args).as_text()) == {"HIGHEST"}


@pytest.mark.slow
def test_every_product_of_a_training_is_of_highest_precision(monkeypatch):
    """And of a fit that is no part of a program of the caller's."""
    from lmjax._src.runtime import bounded_jit

    seen = []
    compiled = bounded_jit.compiled
    monkeypatch.setattr(
        bounded_jit,
        "compiled",
        lambda lowered, effort: seen.append(lowered.as_text()) or compiled(lowered, effort),
    )
    x, start = MATRIX.astype("float32"), np.ones((2, 2), "float32")
    lmjax.fit(_matrix_model, start, x, np.ones((20, 1), "float32"), epochs=2, verbose=0)
    solution = lmjax.least_squares(lambda p, x: _matrix_model(p, x) - 1.0, start, (x,))
    solution.standard_errors()
    texts = [text for text in seen if "dot_general" in text]
    assert len(texts) >= 3
    for text in texts:
        assert _precisions(text) == {"HIGHEST"}


def test_a_precision_that_the_caller_chose_stays():
    function, args = _programs()["least_squares"]
    with jax.default_matmul_precision("bfloat16"):
        assert "DEFAULT" in _precisions(jax.jit(function).lower(*args).as_text())


def _precisions(text):
    found = set()
    for line in text.splitlines():
        if "dot_general" in line:
            found |= set(re.findall(r"HIGHEST|HIGH|DEFAULT", line)) or {"none"}
    return found


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("NVIDIA A30", "float64"),
        ("NVIDIA B200", "float64"),
        ("NVIDIA GB200", "float64"),
        ("NVIDIA GH200 480GB", "float64"),
        ("NVIDIA A100-SXM4-80GB", "float64"),
        ("NVIDIA A10", "float32"),
        ("NVIDIA A40", "float32"),
        ("NVIDIA L40S", "float32"),
        ("NVIDIA B300", "float32"),
        ("NVIDIA GeForce RTX 4090", "float32"),
        ("NVIDIA RTX A3000 Laptop GPU", "float32"),
    ],
)
def test_the_dtype_for_a_gpu(kind, dtype, monkeypatch):
    class Device:
        platform, device_kind = "gpu", kind

    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    assert precision.preferred_dtype() == dtype


def test_switches_are_restored_after_an_error():
    with contextlib.suppress(ZeroDivisionError), jax.numpy_rank_promotion("raise"):
        try:
            lmjax.least_squares(lambda p: p / (1 // 0), np.ones(2))
        finally:
            assert jax.config.jax_numpy_rank_promotion == "raise"
