"""Recurrent layers as models run them: concatenations, scans and their derivatives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.self_check.cases import Case, random_values
from lmjax._src.typing import Array, DType, NumpyArray, Scalar, TreeFn

#: From the state and a row to the next state; and what takes such steps along all rows.
Step = Callable[[Array, Array], Array]
Steps = Callable[[Step, Array, Array], Array]


def concatenations(dtype: DType) -> Iterator[Case]:
    """As in the derivative of a loop whose steps split an array."""

    def join(library: ModuleType, state: Array, later: Array, slopes: Array, k: Scalar) -> Array:
        return library.concatenate([(state + later[k]) * slope[k] for slope in slopes], -1)

    joined = jax.jit(lambda state, later, slopes, k: join(jnp, state, later, slopes, k))
    for rows, width in itertools.product((4, 8), (3, 5, 7)):
        numbers = random_values(dtype, 7, 2, 2, rows, width)
        arguments = numbers[0, 0], numbers[1], list(numbers[2:6, 0])
        given = jax.tree.map(lambda values: values.astype(dtype), arguments)
        expected = join(np, *arguments, 1)
        yield Case(f"2 × {rows} × {width}", joined(*given, 1), expected, 8 + np.abs(expected))
    for width in (5, 7):  # where jaxlib 0.11.0 joins rightly, and yet not in derivatives
        params = [random_values(dtype, 3, 3 * width), random_values(dtype, width, 3 * width) / 4]
        yield _jacobian_case(
            f"derivative of splits, 4 × {width}",
            jax.jacrev,
            _gated,
            params,
            random_values(dtype, 2, 4, 3),
            dtype,
        )


def _gated(library: ModuleType, params: list[Array], x: Array, steps: Steps) -> Array:
    """The last states of a recurrent layer whose gates are parts of one product."""
    into, across = params

    def logistic(x: Array) -> Array:
        return 1 / (1 + library.exp(-x))

    def step(state: Array, row: Array) -> Array:
        ahead, back = library.split(row @ into, 3, -1), library.split(state @ across, 3, -1)
        keep, reset = logistic(ahead[0] + back[0]), logistic(ahead[1] + back[1])
        return keep * state + (1 - keep) * library.tanh(ahead[2] + reset * back[2])

    return steps(step, library.zeros((x.shape[1], across.shape[0]), x.dtype), x)[-1].ravel()


def _recurrence(library: ModuleType, params: list[Array], x: Array, steps: Steps) -> Array:
    """Two recurrent layers, the second one backwards in time, and the mean over time of what comes
    out.
    """
    into, across, back = params

    def forward(state: Array, row: Array) -> Array:
        return library.tanh(row @ into + state @ across)

    def backward(state: Array, row: Array) -> Array:
        return library.tanh(row @ back + state @ across.T)

    states = steps(forward, library.zeros((x.shape[1], across.shape[0]), x.dtype), x)
    states = steps(backward, library.zeros((x.shape[1], across.shape[0]), x.dtype), states[::-1])
    centred = states - states.mean(-1, keepdims=True)
    return (
        (centred / library.sqrt(library.mean(centred**2, -1, keepdims=True) + 1e-3)).mean(0).ravel()
    )


def _scanned(step: Step, state: jax.Array, rows: jax.Array) -> jax.Array:
    def both(state: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = step(state, row)
        return state, state

    return jax.lax.scan(both, state, rows)[1]


def _looped(step: Step, state: NumpyArray, rows: NumpyArray) -> NumpyArray:
    states = []
    for row in rows:
        state = step(state, row)
        states.append(state)
    return np.stack(states)


def _recurrent(dtype: DType, batch: int) -> tuple[list[NumpyArray], NumpyArray]:
    return [
        random_values(dtype, 3, 5),
        random_values(dtype, 5, 5) / 4,
        random_values(dtype, 5, 5),
    ], random_values(dtype, 8, batch, 3)


def scans(dtype: DType) -> Iterator[Case]:
    apply = jax.jit(lambda params, x: _recurrence(jnp, params, x, _scanned))
    for batch in (1, 4, 50):
        params, x = _recurrent(dtype, batch)
        expected = _recurrence(np, params, x, _looped)
        values = apply([p.astype(dtype) for p in params], x.astype(dtype))
        # Eight steps.
        yield Case(f"batch of {batch}", values, expected, 8 * (1 + np.abs(expected)))


def derivatives(dtype: DType) -> Iterator[Case]:
    for batch in (1, 4):
        params, x = _recurrent(dtype, batch)
        for mode in (jax.jacfwd, jax.jacrev):
            yield _jacobian_case(
                f"{mode.__name__}, batch of {batch}", mode, _recurrence, params, x, dtype
            )


def _jacobian_case(
    where: str,
    mode: Callable[[TreeFn], TreeFn],
    function: TreeFn,
    params: list[NumpyArray],
    x: NumpyArray,
    dtype: DType,
) -> Case:
    given = [p.astype(dtype) for p in params]
    jacobian = jax.jit(mode(lambda p: function(jnp, p, x.astype(dtype), _scanned)))(given)
    columns = np.concatenate(
        [np.asarray(block, np.float64).reshape(block.shape[0], -1) for block in jacobian], 1
    )
    exact = _exact_jacobian(function, params, x)
    # Steps, layers and the normalisation, whose slope is up to 30.
    size = 64 * (1 + np.abs(exact).max())
    return Case(where, columns, exact, size)


def _exact_jacobian(function: TreeFn, params: list[NumpyArray], x: NumpyArray) -> NumpyArray:
    """By steps into the complex plane, so small that no digit is lost.

    Source: W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real
    functions", SIAM Rev. 40, 1998.
    """
    columns, step = [], 1e-30
    for k, p in enumerate(params):
        for place in np.ndindex(p.shape):
            moved = p.astype(complex)
            moved[place] += 1j * step
            columns.append(
                function(np, [*params[:k], moved, *params[k + 1 :]], x, _looped).imag / step
            )
    return np.stack(columns, 1)
