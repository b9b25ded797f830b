"""JᵀJ of tall matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax._src.arrays.products import gram, gram_and_gradient, products_with_first
from lmjax._src.runtime import precision


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(0, 3), (7, 1), (64, 4), (300, 20), (1464, 62), (2000, 61), (20_000, 16), (140, 515)]
)
def test_are_exact_to_a_few_roundings(shape, dtype):
    """Also with a column of equal numbers, as a bias has it: their sum may round each of them the
    same way.
    """
    rows = np.random.default_rng(0).normal(size=shape).astype(dtype)
    rows[:, 0] = 1 / np.sqrt(max(shape[0], 1))
    residuals = np.random.default_rng(1).normal(size=shape[0]).astype(dtype)
    with precision.scope(dtype):
        alone, matrix, gradient = map(
            np.asarray, (jax.jit(gram)(rows), *jax.jit(gram_and_gradient)(rows, residuals))
        )
    wide = rows.astype(np.longdouble)
    lengths = np.sqrt(np.sum(wide**2, axis=0)) + np.finfo(dtype).tiny
    for product in (alone, matrix):
        assert product.dtype == dtype
        assert (
            np.max(np.abs(product - wide.T @ wide) / np.outer(lengths, lengths))
            < 100 * np.finfo(dtype).eps
        )
    scale = lengths * (np.linalg.norm(residuals) + np.finfo(dtype).tiny)
    assert np.max(np.abs(gradient - residuals @ wide) / scale) < 100 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(7, 3), *(pytest.param(other, marks=pytest.mark.slow) for other in [(5, 1), (64, 4), (1, 1)])],
)
def test_batches_of_small_products(shape, dtype):
    with jax.enable_x64(dtype == "float64"):
        rows = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, *shape)), dtype)
        tolerance = {"rtol": 100 * np.finfo(dtype).eps, "atol": 100 * np.finfo(dtype).eps}
        for function, expected in (
            (gram, np.einsum("abti,abtj->abij", rows, rows)),
            (products_with_first, np.einsum("abti,abi->abt", rows, rows[:, :, 0])),
        ):
            alone = np.array([[function(each) for each in some] for some in rows])
            np.testing.assert_allclose(alone, expected, **tolerance)
            np.testing.assert_allclose(jax.vmap(jax.vmap(function))(rows), expected, **tolerance)
            tangent = jax.jvp(jax.vmap(function), (rows[0],), (rows[1],))[1]
            slope = (
                jax.vmap(function)(rows[0] + 1e-3 * rows[1])
                - jax.vmap(function)(rows[0] - 1e-3 * rows[1])
            ) / 2e-3
            np.testing.assert_allclose(tangent, slope, rtol=0.02, atol=0.02)
