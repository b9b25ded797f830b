"""What answers rest on, tried on the machine at hand: compiled programs, as a user's own are,
against NumPy in float64.

Compilers differ from version to version and choose instructions by the processor, so that only the
machine itself can tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.least_squares.least_squares import least_squares
from lmjax._src.runtime import faults, precision
from lmjax._src.typing import Array, DType, NumpyArray, Scalar, TreeFn

#: Lengths around those at which vectors of instructions end, and loops are split.
LENGTHS = (1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 49, 50, 64, 100, 129, 1000)

#: Rows around those beyond which work is shared out among threads or blocks.
ROWS = (255, 1000, 16_384, 16_385, 20_000, 32_768, 32_769)

#: How many roundings a value may be off, beside those that its sum takes: libraries of functions
#: and ours differ by about ten.
ROUNDINGS = 64

#: From the state and a row to the next state; and what takes such steps along all rows.
Step = Callable[[Array, Array], Array]
Steps = Callable[[Step, Array, Array], Array]


class Outcome(NamedTuple):
    """How far a kind of computation is off, at the most."""

    name: str
    dtype: str
    error: float  #: as a multiple of what rounding explains
    where: str  #: at which size

    @property
    def is_right(self) -> bool:
        """Whether rounding explains it."""
        return self.error <= 1

    @property
    def is_known(self) -> bool:
        """Whether the version that is installed is known for it, and converted models and fits go
        round it.
        """
        return (
            self.name == faults.WORKED_AROUND
            and faults.concatenates_wrongly()
            and jax.default_backend() == "cpu"
        )


class _Case(NamedTuple):
    """Values that were computed, what they are, and the rounding (of the same shape, or a number)
    that is to be expected.
    """

    where: str
    values: Array
    expected: NumpyArray
    scale: Array


def outcomes() -> Iterator[Outcome]:
    """Runs all checks, in float32 and float64, one after the other; JAX's configuration is as
    before in between.
    """
    for name, check in _CHECKS.items():
        for dtype in (np.float32, np.float64):
            worst, where = 0.0, ""
            with precision.scope(dtype):
                for case in check(np.dtype(dtype)):
                    error = _excess(case, np.dtype(dtype))
                    if error > worst:
                        worst, where = error, case.where
            yield Outcome(name, np.dtype(dtype).name, worst, where)


def _excess(case: _Case, dtype: DType) -> float:
    """The largest deviation over the rounding that is to be expected; infinite where NaN came
    out.
    """
    values = np.asarray(case.values, np.float64)
    if values.shape != case.expected.shape or not np.isfinite(values).all():
        return np.inf
    return float(
        np.max(
            np.abs(values - case.expected)
            / (ROUNDINGS * np.finfo(dtype).eps * np.asarray(case.scale))
        )
    )


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Of matrices, written as users write it; accelerators, which round on the way then, are asked
    not to.
    """
    return jnp.matmul(left, right, precision=None if jax.default_backend() == "cpu" else "highest")


def _random(dtype: DType, *shape: int) -> NumpyArray:
    """Numbers of the dtype, as float64 too: so both sides begin with the same."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype).astype(np.float64)


def _functions(library: ModuleType) -> dict[str, Callable[[Array], Array]]:
    """Of numbers between -2 and 2, each no more than 8 times as sensitive to them as they are
    large.
    """
    return {
        "exp": library.exp,
        "expm1": library.expm1,
        "log": lambda x: library.log(3 + x),
        "log1p": lambda x: library.log1p(x * x),
        "sin": library.sin,
        "cos": library.cos,
        "tan": lambda x: library.tan(x / 2),
        "sinh": library.sinh,
        "cosh": library.cosh,
        "tanh": library.tanh,
        "arctan": library.arctan,
        "arcsin": lambda x: library.arcsin(x / 4),
        "arcsinh": library.arcsinh,
        "sqrt": lambda x: library.sqrt(3 + x),
        "power": lambda x: (3 + x) ** 2.5,
        "logistic": lambda x: 1 / (1 + library.exp(-x)),
        "hypot": lambda x: library.hypot(x, 1 + x),
    }


def _elementwise(dtype: DType) -> Iterator[_Case]:
    together = jax.jit(lambda x: [function(x) for function in _functions(jnp).values()])
    for size in LENGTHS:
        x = np.clip(_random(dtype, size), -2, 2).astype(dtype)
        exact = x.astype(np.float64)
        for values, (name, function) in zip(together(x), _functions(np).items(), strict=True):
            expected = function(exact)
            yield _Case(f"{name} of {size}", values, expected, 1 + np.abs(expected))
    for name, function in _functions(jnp).items():  # alone, each is a program of another kind
        x = np.clip(_random(dtype, 100), -2, 2).astype(dtype)
        expected = _functions(np)[name](x.astype(np.float64))
        yield _Case(f"{name} of 100, alone", jax.jit(function)(x), expected, 1 + np.abs(expected))


def _sums(dtype: DType) -> Iterator[_Case]:
    together = jax.jit(
        lambda x: (
            jnp.sum(x),
            jnp.sum(x * x),
            jnp.linalg.norm(x),
            jnp.sum(x, 0),
            jnp.sum(x * x, 1),
            jnp.max(x),
            jnp.vdot(x, x),
            jnp.mean(x),
        )
    )
    for rows in ROWS:
        x = _random(dtype, rows, 3)
        # Roundings of either sign add up as the root of their number.
        squares, growth = (
            x * x,
            1 + np.sqrt(rows) / 8,
        )
        total, length = growth * squares.sum(), np.sqrt(squares.sum())
        wanted = [
            x.sum(),
            squares.sum(),
            length,
            x.sum(0),
            squares.sum(1),
            x.max(),
            squares.sum(),
            x.mean(),
        ]
        scales = [
            growth * np.abs(x).sum(),
            total,
            growth * length,
            growth * np.abs(x).sum(0),
            1 + squares.sum(1),
            1,
            total,
            growth,
        ]
        for values, expected, scale in zip(together(x.astype(dtype)), wanted, scales, strict=True):
            yield _Case(f"{rows} rows", values, np.asarray(expected), scale)


def _concatenations(dtype: DType) -> Iterator[_Case]:
    """As in the derivative of a loop whose steps split an array."""

    def join(library: ModuleType, state: Array, later: Array, slopes: Array, k: Scalar) -> Array:
        return library.concatenate([(state + later[k]) * slope[k] for slope in slopes], -1)

    joined = jax.jit(lambda state, later, slopes, k: join(jnp, state, later, slopes, k))
    for rows, width in itertools.product((4, 8), (3, 5, 7)):
        numbers = _random(dtype, 7, 2, 2, rows, width)
        arguments = numbers[0, 0], numbers[1], list(numbers[2:6, 0])
        given = jax.tree.map(lambda values: values.astype(dtype), arguments)
        expected = join(np, *arguments, 1)
        yield _Case(f"2 × {rows} × {width}", joined(*given, 1), expected, 8 + np.abs(expected))
    for width in (5, 7):  # where jaxlib 0.11.0 joins rightly, and yet not in derivatives
        params = [_random(dtype, 3, 3 * width), _random(dtype, width, 3 * width) / 4]
        yield _jacobian_case(
            f"derivative of splits, 4 × {width}",
            jax.jacrev,
            _gated,
            params,
            _random(dtype, 2, 4, 3),
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


def _products(dtype: DType) -> Iterator[_Case]:
    def norm_of_product(matrix: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.linalg.norm(_product(matrix, x))

    def square_of_product(matrix: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(_product(matrix, x) ** 2)

    def gram(matrix: jax.Array, x: jax.Array) -> jax.Array:
        images = _product(x, matrix)
        return _product(images.T, images)

    matrix = _random(dtype, 3, 3)
    each = [
        jax.jit(jax.vmap(function, (None, 0))) for function in (norm_of_product, square_of_product)
    ]
    for rows in ROWS:
        x = _random(dtype, rows, 3)
        images = x @ matrix.T
        squares = np.sum(images**2, 1)
        lengths = np.sqrt(np.sum((np.abs(x) @ np.abs(matrix).T) ** 2, 1))
        arguments = matrix.astype(dtype), x.astype(dtype)
        yield _Case(f"norms of {rows} rows", each[0](*arguments), np.sqrt(squares), 1 + lengths)
        yield _Case(f"squares of {rows} rows", each[1](*arguments), squares, 1 + lengths**2)
        yield _Case(
            f"matrix of {rows} rows",
            jax.jit(gram)(*arguments),
            (x @ matrix).T @ (x @ matrix),
            np.sum(lengths**2) + rows,
        )
    for size in (1, 2, 5, 16, 33, 100, 257):
        left, right = _random(dtype, size, 65), _random(dtype, 65, size)
        product = jax.jit(_product)(left.astype(dtype), right.astype(dtype))
        yield _Case(f"{size} × 65 × {size}", product, left @ right, np.abs(left) @ np.abs(right))


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
    return [_random(dtype, 3, 5), _random(dtype, 5, 5) / 4, _random(dtype, 5, 5)], _random(
        dtype, 8, batch, 3
    )


def _scans(dtype: DType) -> Iterator[_Case]:
    apply = jax.jit(lambda params, x: _recurrence(jnp, params, x, _scanned))
    for batch in (1, 4, 50):
        params, x = _recurrent(dtype, batch)
        expected = _recurrence(np, params, x, _looped)
        values = apply([p.astype(dtype) for p in params], x.astype(dtype))
        # Eight steps.
        yield _Case(f"batch of {batch}", values, expected, 8 * (1 + np.abs(expected)))


def _derivatives(dtype: DType) -> Iterator[_Case]:
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
) -> _Case:
    given = [p.astype(dtype) for p in params]
    jacobian = jax.jit(mode(lambda p: function(jnp, p, x.astype(dtype), _scanned)))(given)
    columns = np.concatenate(
        [np.asarray(block, np.float64).reshape(block.shape[0], -1) for block in jacobian], 1
    )
    exact = _exact_jacobian(function, params, x)
    # Steps, layers and the normalisation, whose slope is up to 30.
    size = 64 * (1 + np.abs(exact).max())
    return _Case(where, columns, exact, size)


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


def _factorisations(dtype: DType) -> Iterator[_Case]:
    @jax.jit
    def together(matrix: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        factor = jnp.linalg.cholesky(matrix)
        q, r = jnp.linalg.qr(matrix)
        back = _product(factor, factor.T), _product(q, r)
        return *back, _product(matrix, jax.scipy.linalg.cho_solve((factor, True), right))

    for size in (1, 2, 3, 8, 17, 32, 33, 64, 65, 129):
        root = _random(dtype, size, size + 4)
        matrix = ((root @ root.T) / size + np.eye(size)).astype(dtype).astype(np.float64)
        right = _random(dtype, size)
        factored, orthogonal, solved = together(matrix.astype(dtype), right.astype(dtype))
        norm = np.linalg.norm(matrix)
        yield _Case(f"Cholesky of {size}", factored, matrix, norm)
        yield _Case(f"QR of {size}", orthogonal, matrix, norm)
        yield _Case(f"solution of {size}", solved, right, norm * np.linalg.norm(right))


def _fits(dtype: DType) -> Iterator[_Case]:
    """Of lengths of points under an unknown matrix, the cost in NumPy against the one that is
    told.
    """
    truth = np.array([[1.2, 0.1, 0.0], [0.05, 0.9, -0.2], [0.0, 0.1, 1.1]])
    points = _random(dtype, 33_000, 3)
    lengths = (np.linalg.norm(points @ truth.T, axis=1) + 0.1 * _random(dtype, 33_000)).astype(
        dtype
    )

    def residuals(matrix: jax.Array, points: jax.Array, lengths: jax.Array) -> jax.Array:
        return jax.vmap(lambda point: jnp.linalg.norm(_product(matrix, point)))(points) - lengths

    def fit(start: Vector) -> tuple[Array, Array]:
        solution = least_squares(residuals, start, (points.astype(dtype), lengths))
        return solution.params, solution.cost

    for name, run in (("a call", fit), ("jit", jax.jit(fit))):
        matrix, cost = run((1.1 * truth).astype(dtype))
        values = np.linalg.norm(points @ np.asarray(matrix, np.float64).T, axis=1) - lengths
        expected = 0.5 * np.sum(values.astype(np.float64) ** 2)
        yield _Case(
            f"{name}, 33 000 rows",
            cost,
            np.asarray(expected),
            0.5 * np.sum(np.abs(values) * (1 + lengths)),
        )


_CHECKS: dict[str, Callable[[DType], Iterator[_Case]]] = {
    "functions of numbers": _elementwise,
    "sums and norms": _sums,
    faults.WORKED_AROUND: _concatenations,
    "products": _products,
    "scans": _scans,
    "derivatives of scans": _derivatives,
    "factorisations": _factorisations,
    "fits": _fits,
}
