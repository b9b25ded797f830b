"""JAX's 64-bit mode: switched for the length of a call, and never for the caller's own code within
it.
"""

import jax
import numpy as np
import pytest

import lmjax
from lmjax._src.runtime import precision

X = np.linspace(-1, 1, 24)[:, None]
Y = np.tanh(2 * X)


def line(params, x):
    return x * params["slope"]


def mode():
    return bool(jax.config.read("jax_enable_x64"))


@pytest.mark.slow
@pytest.mark.parametrize("callers", [False, True])
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_callbacks_and_sources_run_in_the_callers_mode(callers, dtype):
    seen, inner = [], []

    def batches():
        for part in np.split(np.arange(24), 3):
            seen.append(mode())
            yield X[part], Y[part]

    def callback(epoch, logs):
        seen.append(mode())
        # A call within has a scope of its own.
        inner.append(lmjax.least_squares(lambda p: p - np.array([1.0, 2.0]), np.zeros(2)).params)
        seen.append(mode())

    class Batches:
        def pieces(self):  # a source of one's own, not even a generator
            seen.append(mode())
            return iter([(X, Y, None)])

    start = {"slope": np.ones((1,), dtype)}
    with jax.enable_x64(callers):
        for data in (batches, Batches()):
            result = lmjax.fit(
                line, start, data, epochs=2, callbacks=callback, validation_data=batches, verbose=0
            )
            result.loss_at(start)
        lmjax.fit(line, start, X, Y, epochs=2, callbacks=callback, verbose=0)
        assert mode() == callers
    assert result.params["slope"].dtype == dtype
    assert len(seen) > 20
    assert set(seen) == {callers}
    assert all(params.dtype == np.float64 for params in inner)


def test_a_scope_ends_with_what_is_raised_inside():
    with (  # noqa: PT012
        pytest.raises(RuntimeError),
        precision.scope("float64"),
        precision.outside(),
        precision.scope("float64"),
    ):
        assert mode()
        raise RuntimeError
    assert not mode()
    with precision.outside():
        assert not mode()
    assert list(precision.taken_outside(lambda: iter([1, 2]))) == [1, 2]


@pytest.mark.parametrize("wish", [np.True_, np.array([True]), 1, "enough", True])
def test_whatever_counts_as_true_ends_a_fit(wish):
    called = []
    result = lmjax.fit(
        line,
        {"slope": np.zeros(1)},
        X,
        Y,
        epochs=50,
        callbacks=[
            lambda epoch, logs: wish if epoch == 1 else np.False_,
            lambda epoch, logs: called.append(epoch),
        ],
        verbose=0,
    )
    assert (result.status, called) == (lmjax.Status.STOPPED, [0, 1])
