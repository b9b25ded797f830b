"""Batches under ``vmap``: every lane as by itself, however it is batched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import Status
from lmjax._src.runtime import batched_loop

X = np.linspace(-5.0, 5.0, 64)
START = np.array([1.0, 0.0, 1.0, 0.0])


def peak(params, x, y):
    return params[0] * jnp.exp(-0.5 * ((x - params[1]) / params[2]) ** 2) + params[3] - y


def peaks(count):
    random = np.random.default_rng(0)
    height, centre, width = (
        random.uniform(1, 5, (count, 1)),
        random.uniform(-2, 2, (count, 1)),
        random.uniform(0.4, 1.5, (count, 1)),
    )
    return height * np.exp(-0.5 * ((X - centre) / width) ** 2) + 0.05 * random.normal(
        size=(count, X.size)
    )


def found(y, start=START, residual_fn=None):
    solution = (
        lmjax.least_squares(peak, start, (X.astype(y.dtype), y))
        if residual_fn is None
        else lmjax.least_squares(residual_fn, start)
    )
    return solution.params, solution.cost, solution.status_code


ALONE, TOGETHER = jax.jit(found), jax.jit(jax.vmap(found, in_axes=(0, None)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(np.float64, 1e-12), pytest.param(np.float32, 2e-5, marks=pytest.mark.slow)],
)
def test_lanes_are_as_by_themselves(dtype, tolerance, monkeypatch):
    # 32 of the 80 lanes at once: the others wait.
    monkeypatch.setattr(batched_loop, "_WINDOW_BYTES", 32 * 4 * X.size * np.dtype(dtype).itemsize)
    with jax.enable_x64(dtype == np.float64):
        y, start = peaks(80).astype(dtype), START.astype(dtype)
        params, cost, status = jax.jit(jax.vmap(found, in_axes=(0, None)))(y, start)
        alone = [ALONE(each, start) for each in y]
        np.testing.assert_allclose(
            params, [each[0] for each in alone], rtol=tolerance, atol=tolerance
        )
        np.testing.assert_allclose(cost, [each[1] for each in alone], rtol=tolerance)
        assert all(Status(int(code)).success for code in status)


@pytest.mark.slow
def test_every_way_to_batch():
    """A lane that starts at NaN fails alone; nested batches, eager ones, no lanes, and captured
    tracers, also integers.
    """
    with jax.enable_x64(True):
        y = jnp.asarray(peaks(6))
        expected, _, status = TOGETHER(y, START)
        starts = jnp.stack([START, START * jnp.nan])
        params, _, codes = jax.vmap(lambda start: jax.vmap(lambda each: found(each, start))(y))(
            starts
        )
        np.testing.assert_allclose(params[0], expected, rtol=1e-12)
        np.testing.assert_array_equal(codes[0], status)
        np.testing.assert_array_equal(codes[1], Status.NON_FINITE_START)
        captured = jax.vmap(lambda k: found(y, START, lambda p: peak(p, X, y[k]))[0])(jnp.arange(6))
        np.testing.assert_allclose(captured, expected, rtol=1e-12)
        assert TOGETHER(y[:0], START)[0].shape == (0, 4)


def test_a_window_computes_no_more_than_it_must():
    """Counting down from very different numbers, a few lanes at a time; a plain loop would take 64
    × 1000 rounds.
    """
    starts = jnp.asarray([1000 if k == 7 else k % 5 for k in range(64)])

    def advance(problem, carry):
        return carry[0] - 1, carry[1] + problem

    loop = batched_loop.Loop(
        running=lambda problem, carry: carry[0] > 0,
        advance=advance,
        alone=lambda problem, carry: jax.lax.while_loop(
            lambda c: c[0] > 0, lambda c: advance(problem, c), carry
        ),
        lane_bytes=batched_loop._WINDOW_BYTES // 20,
    )
    counted = jax.vmap(
        lambda n, unit: batched_loop.run(loop, unit, (n, 0 * n))[1], in_axes=(0, None)
    )(starts, jnp.asarray(2))
    np.testing.assert_array_equal(counted, 2 * starts)
