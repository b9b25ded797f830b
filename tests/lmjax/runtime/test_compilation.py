"""How programs are compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax._src.runtime import compilation
from lmjax._src.runtime.compilation import Effort


@pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="only programs for processors have options"
)
@pytest.mark.parametrize("effort", [Effort.QUICK, Effort.LEAST])
def test_options_that_xla_does_not_know_are_left_out(monkeypatch, effort):
    monkeypatch.setitem(
        compilation._OPTIONS,
        effort,
        {"xla_cpu_of_another_time": True, **compilation._OPTIONS[effort]},
    )
    monkeypatch.setattr(compilation, "_unknown", set())
    doubled = compilation.compiled(jax.jit(lambda x: 2 * x).lower(jnp.ones(2)), effort)
    np.testing.assert_array_equal(doubled(jnp.ones(2)), [2, 2])
    assert "xla_cpu_of_another_time" in compilation._unknown
