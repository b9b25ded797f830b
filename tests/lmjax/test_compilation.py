"""How programs are compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import compilation, programs


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only programs for processors have options")
def test_options_that_xla_does_not_know_are_left_out(monkeypatch):
    monkeypatch.setattr(compilation, "_QUICK", {**compilation._QUICK, "xla_cpu_of_another_time": True})
    monkeypatch.setattr(compilation, "_unknown", set())
    programs.forget()
    time = np.linspace(0, 5, 15)
    solution = lmjax.least_squares(lambda p, t, y: p[0] * jnp.exp(-p[1] * t) - y, np.ones(2), (time, 2 * np.exp(-0.7 * time)))
    np.testing.assert_allclose(solution.params, [2, 0.7], rtol=1e-12)
    assert "xla_cpu_of_another_time" in compilation._unknown
