"""How programs are compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import compilation, programs

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="only programs for processors are compiled in other ways")

TIME = np.linspace(0, 5, 15)
VALUES = 2 * np.exp(-0.7 * TIME) + 0.01 * np.cos(9 * TIME)


def decay(p, t, y):
    return p[0] * jnp.exp(-p[1] * t) - y


def interpolated(p, t, y):
    return jnp.interp(t, jnp.sort(t), p[0] * jnp.exp(-p[1] * t)) - y


def inverted(p, t, y):
    return jnp.linalg.solve(jnp.eye(t.size) * jnp.exp(p[1] * t), jnp.full(t.size, p[0])) - y


@pytest.fixture
def texts(monkeypatch):
    """The programs that were compiled, as text."""
    programs.forget()
    seen, compiled = [], compilation._compiled

    def noting(lowered):
        seen.append(lowered.as_text())
        return compiled(lowered)

    monkeypatch.setattr(compilation, "_compiled", noting)
    yield seen
    programs.forget()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_fit_is_one_function_with_the_same_result(dtype, texts, monkeypatch):
    def fit():
        programs.forget()
        return lmjax.least_squares(decay, np.ones(2, dtype), (TIME, VALUES))

    marked = fit()
    assert ["xla_cpu_small_call" in text for text in texts] == [True]
    monkeypatch.setattr(compilation, "_LONGEST", 0)
    plain = fit()
    assert ["xla_cpu_small_call" in text for text in texts] == [True, False]
    np.testing.assert_allclose(marked.params, plain.params, rtol=1e-12 if dtype == "float64" else 1e-5)
    assert marked.status == plain.status
    assert marked.status.success


@pytest.mark.parametrize("function", [interpolated, inverted])
def test_what_has_to_be_a_task_is_not_marked(function, texts):
    solution = lmjax.least_squares(function, np.ones(2), (TIME, VALUES))
    assert ["xla_cpu_small_call" in text for text in texts] == [False]
    np.testing.assert_allclose(solution.params, [2, 0.7], rtol=0.02)


def test_compiled_without_the_mark_where_xla_refuses_it(texts, monkeypatch):
    monkeypatch.setattr(compilation, "_TASKS", ())
    solution = lmjax.least_squares(inverted, np.ones(2), (TIME, VALUES))
    assert ["xla_cpu_small_call" in text for text in texts] == [True, False]
    np.testing.assert_allclose(solution.params, [2, 0.7], rtol=0.02)


def test_options_that_xla_does_not_know_are_left_out(monkeypatch):
    monkeypatch.setattr(compilation, "_QUICK", {**compilation._QUICK, "xla_cpu_of_another_time": True})
    monkeypatch.setattr(compilation, "_unknown", set())
    programs.forget()
    assert lmjax.least_squares(decay, np.ones(2), (TIME, VALUES)).status.success
    assert "xla_cpu_of_another_time" in compilation._unknown


def test_a_users_own_jit_is_not_marked():
    text = jax.jit(lambda y: lmjax.least_squares(decay, jnp.ones(2), (TIME, y)).params).lower(VALUES.astype("float32")).as_text()
    assert "xla_cpu_small_call" not in text
