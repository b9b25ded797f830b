"""How many compiled programs are kept."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.least_squares import run
from lmjax._src.runtime import bounded_jit
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort


@pytest.fixture
def counted(monkeypatch):
    """A function that keeps two programs, and the arguments for which it was traced."""
    monkeypatch.setattr(bounded_jit, "KEPT", 2)
    traced = []

    @recent(static_argnums=(0,), static_argnames=("power",))
    def scaled(factor, x, power=1):
        traced.append((factor, x.shape, power))
        return factor * x**power

    return scaled, traced


def test_what_was_used_last_is_kept(counted):
    scaled, traced = counted
    for size in (1, 2, 1, 3, 1):  # 3 takes the place of 2
        np.testing.assert_array_equal(scaled(2, jnp.ones(size)), 2)
    assert traced == [(2, (1,), 1), (2, (2,), 1), (2, (3,), 1)]
    scaled(2, jnp.ones(2))
    assert len(traced) == 4


def test_static_arguments_and_names_tell_programs_apart(counted):
    scaled, traced = counted
    assert float(scaled(2, jnp.float32(3))) == 6
    assert float(scaled(2, jnp.float32(3), power=2)) == 18
    assert float(scaled(3, jnp.float32(3))) == 9
    assert len(traced) == 3


def test_forgets_all(counted):
    scaled, traced = counted
    scaled(2, jnp.ones(1))
    bounded_jit.forget()
    assert len(scaled) == 0
    scaled(2, jnp.ones(1))
    assert len(traced) == 2


def test_works_inside_of_transformations(counted):
    scaled, _ = counted
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(lambda x: scaled(2, x)))(jnp.arange(3)), [0, 2, 4]
    )
    assert float(jax.grad(lambda x: scaled(2, x, power=2))(3.0)) == 12


def test_quickly_compiled_inside_and_outside_of_transformations():
    """JAX refuses compiler options inside, also where nothing that it traces is among the
    arguments.
    """

    @recent(effort=Effort.QUICK)
    def squared(x):
        return x**2

    x = jnp.arange(3.0)
    np.testing.assert_array_equal(squared(x), [0, 1, 4])
    np.testing.assert_array_equal(jax.jit(lambda y: squared(x) + y)(x), [0, 2, 6])
    np.testing.assert_array_equal(jax.vmap(lambda y: squared(x).sum() + y)(x), [5, 6, 7])
    np.testing.assert_array_equal(jax.grad(lambda y: squared(y).sum())(x), [0, 2, 4])
    assert jax.eval_shape(lambda y: squared(x) + y, x).shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["float32", "float64"])
def test_the_other_precision_with_captured_arrays(first):
    """JAX hands a captured NumPy array in the dtype of its first trace to later ones, for as long
    as that trace is alive.
    """
    time = np.linspace(0, 5, 15)
    values = 2 * np.exp(-0.7 * time)
    shift = np.full(1, 0.5)

    def residuals(p):
        return p[0] * jnp.exp(-p[1] * time) - values

    def model(p, x):
        return p[0] * jnp.exp(-p[1] * (x - shift))

    for dtype in (first, {"float32": "float64", "float64": "float32"}[first], first):
        start = np.ones(2, dtype)
        solution = lmjax.least_squares(residuals, start)
        fitted = lmjax.fit(
            model,
            start,
            time[:, None].astype(dtype),
            values[:, None].astype(dtype),
            epochs=30,
            verbose=0,
        )
        for params in (solution.params, fitted.params):
            assert params.dtype == dtype
        np.testing.assert_allclose(solution.params, [2, 0.7], rtol=1e-5)
        np.testing.assert_allclose(fitted.params, [2 * np.exp(-0.35), 0.7], rtol=1e-4)
        assert np.isfinite(solution.standard_errors()).all()
    # Nor are later traces of the user's harmed.
    assert jax.jit(lambda p: values - p)(jnp.ones(15)).dtype == "float32"
    with jax.enable_x64(True):
        assert jax.jit(lambda p: values - p)(jnp.ones(15)).dtype == "float64"


def test_runs_step_by_step_where_jit_is_disabled(counted):
    scaled, traced = counted
    with jax.disable_jit():
        for _ in range(2):
            assert float(scaled(2, jnp.ones(()))) == 2
    assert len(traced) == 2


def mappings():
    return Path("/proc/self/maps").read_bytes().count(b"\n")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux limits")
def test_fits_of_ever_new_functions_do_not_use_up_the_memory_mappings(monkeypatch):
    """A program takes forty to some hundred of them; a process may have 65 530."""
    monkeypatch.setattr(bounded_jit, "KEPT", 1)
    monkeypatch.setattr(run, "_slice", recent(static_argnums=(0,))(run._slice.__wrapped__))
    counts = []
    for shift in range(7):
        solution = lmjax.least_squares(
            lambda p, shift=shift: p - shift,
            np.zeros(1),
            solver=lmjax.LevenbergMarquardt(polish=False),
        )
        assert float(solution.params[0]) == shift
        counts.append(mappings())
    assert counts[-1] - counts[1] < 80
