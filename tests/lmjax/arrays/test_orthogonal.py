"""Least squares by orthogonal factorisation, of few columns and of many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmjax._src.arrays.orthogonal import inverse_root, solve_columns
from lmjax._src.runtime import precision

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
COLUMNS = pytest.mark.parametrize("columns", [1, 4, 8, 9, 20])  # up to 8 are written out


def solved(matrix, target):
    with precision.scope(matrix.dtype):
        return tuple(map(np.asarray, jax.jit(solve_columns)(matrix, target)[:2]))


@pytest.mark.slow
@DTYPES
@settings(max_examples=10, deadline=None)
@given(
    columns=st.sampled_from([1, 2, 4, 8, 9, 20]),
    more=st.sampled_from([0, 1, 33]),
    decades=st.integers(0, 12),
    seed=st.integers(0, 99),
)
def test_agrees_with_lstsq_whatever_the_units(dtype, columns, more, decades, seed):
    random = np.random.default_rng(seed)
    units = 10.0 ** random.uniform(-decades, decades, columns)
    matrix = (
        (random.normal(size=(columns + more, columns)) + 3 * np.eye(columns + more, columns))
        * units
    ).astype(dtype)
    target = random.normal(size=columns + more).astype(dtype)
    step, lengths = solved(matrix, target)
    assert step.dtype == lengths.dtype == dtype
    scale = np.linalg.norm(matrix.astype(float), axis=0)
    np.testing.assert_allclose(lengths, scale, rtol=20 * np.finfo(dtype).eps)
    scaled = matrix.astype(float) / scale
    expected = np.linalg.lstsq(scaled, target.astype(float), rcond=None)[0]
    error = np.linalg.norm(step * scale - expected)
    assert error < 50 * np.finfo(dtype).eps * np.linalg.cond(scaled) ** 2 * np.linalg.norm(target)


@DTYPES
@COLUMNS
def test_columns_of_zeros_get_no_step(columns, dtype):
    random = np.random.default_rng(0)
    matrix, target = (
        random.normal(size=(30, columns)).astype(dtype),
        random.normal(size=30).astype(dtype),
    )
    for zeros in ([0], [columns - 1], range(columns)):
        some = matrix.copy()
        some[:, zeros] = 0
        step, lengths = solved(some, target)
        assert np.all(step[zeros] == 0)
        assert np.all(lengths[zeros] == 0)
        rest = np.delete(np.arange(columns), zeros)
        expected = np.linalg.lstsq(some[:, rest].astype(float), target.astype(float), rcond=None)[0]
        np.testing.assert_allclose(step[rest], expected, atol=1e3 * np.finfo(dtype).eps)


@DTYPES
@pytest.mark.parametrize("columns", [2, 4, 8, 12])
def test_without_full_rank_the_step_is_not_finite_or_endless(columns, dtype):
    """As rounding has it: what remains of a column that depends on others is zero, or its last
    bit.
    """
    matrix = np.random.default_rng(0).normal(size=(30, columns)).astype(dtype)
    matrix[:, -1] = 3 * matrix[:, 0]
    step, lengths = solved(matrix, np.random.default_rng(1).normal(size=30).astype(dtype))
    assert not np.linalg.norm(lengths * step) < 1 / np.sqrt(np.finfo(dtype).eps)


@DTYPES
@COLUMNS
def test_one_of_a_batch_is_as_one_alone(columns, dtype):
    random = np.random.default_rng(0)
    matrices, targets = (
        random.normal(size=(5, 40, columns)).astype(dtype),
        random.normal(size=(5, 40)).astype(dtype),
    )
    with precision.scope(dtype):
        steps, lengths = jax.jit(jax.vmap(solve_columns))(
            jnp.asarray(matrices), jnp.asarray(targets)
        )[:2]
    for each in range(5):
        step, length = solved(matrices[each], targets[each])
        np.testing.assert_allclose(steps[each], step, atol=100 * np.finfo(dtype).eps)
        np.testing.assert_allclose(lengths[each], length, rtol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nearly_dependent_columns_lose_as_few_digits_as_by_householder(dtype):
    """Normal equations would lose all of them."""
    epsilon = np.finfo(dtype).eps
    near = np.sqrt(epsilon) / 4
    random = np.random.default_rng(0)
    columns = random.normal(size=(50, 3))
    matrix = np.column_stack(
        [columns[:, 0], columns[:, 1], columns[:, 0] + near * columns[:, 2]]
    ).astype(dtype)
    # So that rounding is not multiplied twice with the condition number.
    target = (matrix.astype(float) @ [1, 2, 3]).astype(dtype)
    step, lengths = solved(matrix, target)
    assert np.linalg.norm(lengths * (step - [1, 2, 3])) < 100 * epsilon / near * np.linalg.norm(
        target
    )


@pytest.mark.slow
@DTYPES
@COLUMNS
def test_root_of_the_inverse(dtype, columns):
    """By itself and in a batch, with a column of zeros where there are more than four; and its
    derivatives in both modes.
    """
    random = np.random.default_rng(columns)
    matrix = (random.normal(size=(30, columns)) * 10.0 ** random.uniform(-3, 3, columns)).astype(
        dtype
    )
    zero = np.arange(columns) == (0 if columns > 4 else -1)
    matrix[:, zero] = 0
    lengths = np.where(zero, 1, np.linalg.norm(matrix.astype(float), axis=0))
    expected = np.linalg.qr(np.concatenate([matrix / lengths, np.diag(zero)]), mode="r")
    inverse = np.linalg.inv(expected.T @ expected)
    epsilon = np.finfo(dtype).eps
    with precision.scope(matrix.dtype):
        roots, triangles = jax.jit(jax.vmap(inverse_root))(jnp.stack([matrix, matrix]))
        for root, triangle in (
            jax.jit(inverse_root)(matrix),
            (roots[0], triangles[0]),
            (roots[1], triangles[1]),
        ):
            assert root.dtype == triangle.dtype == dtype
            scaled = lengths[:, None] * np.asarray(root, float)
            np.testing.assert_allclose(
                scaled @ scaled.T,
                inverse,
                atol=50 * epsilon * np.linalg.cond(expected) ** 2 * np.max(inverse),
            )
            np.testing.assert_allclose(np.abs(triangle), np.abs(expected), atol=50 * epsilon)
        if not zero.any():
            forward = jax.jit(jax.jacfwd(lambda matrix: jnp.sum(inverse_root(matrix)[0] ** 2)))(
                matrix
            )
            backward = jax.jit(
                jax.vmap(jax.grad(lambda matrix: jnp.sum(inverse_root(matrix)[0] ** 2)))
            )(jnp.stack([matrix, matrix]))
            for lane in backward:
                np.testing.assert_allclose(
                    lane, forward, atol=1e3 * epsilon * np.max(np.abs(forward))
                )


@DTYPES
@COLUMNS
def test_columns_whose_squares_are_beyond_the_range_of_numbers(dtype, columns):
    random = np.random.default_rng(columns)
    largest = 0.9 * np.log10(np.finfo(dtype).max)
    units = 10.0 ** np.linspace(-largest, largest, columns)
    matrix = (random.normal(size=(40, columns)) + 3 * np.eye(40, columns)).astype(dtype)
    target = random.normal(size=40).astype(dtype)
    step, lengths = solved((matrix * units).astype(dtype), target)
    expected, expected_lengths = solved(matrix, target)
    # Of the units and of the products with them, times a condition of a few tens.
    tolerance = 500 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        step.astype(float) * units,
        expected,
        rtol=tolerance,
        atol=tolerance * np.abs(expected).max(),
    )
    np.testing.assert_allclose(lengths / units, expected_lengths, rtol=tolerance)
