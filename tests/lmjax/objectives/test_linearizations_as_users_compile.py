"""Every linearization as users compile it, on both sides of the sizes at which compilers share work
out, against NumPy.

With 16 384 rows in float64 and 32 768 in float32, JAX 0.10.2 began to leave rows out
(jax-ml/jax#39103).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.arrays.arguments import as_pytree_callable
from lmjax._src.arrays.structure import Structure
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.jacobians import Jacobians
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime.precision import scope
from lmjax.losses import find_loss

pytestmark = pytest.mark.slow

ROWS = (16_383, 16_384, 16_385, 32_767, 32_768, 32_769)
MATRIX = np.array([[1.2, 0.1, 0.0], [0.05, 0.9, -0.2], [0.0, 0.1, 1.1]])


def _data(rows, dtype):
    generator = np.random.default_rng(rows)
    points = generator.normal(size=(rows, 3)).astype(dtype)
    return points, (
        np.linalg.norm(points @ MATRIX.T, axis=1) + 0.1 * generator.normal(size=rows)
    ).astype(dtype)


def residuals(matrix, points, lengths):
    return jax.vmap(lambda point: jnp.linalg.norm(matrix @ point))(points) - lengths


def _exact(matrix, points, lengths):
    """r and J in NumPy's float64: the derivative of |Mp| is (Mp)ᵢ pⱼ / |Mp|."""
    points = points.astype(float)
    images = points @ matrix.T
    norms = np.linalg.norm(images, axis=1)
    return norms - lengths, (
        images[:, :, None] * points[:, None, :] / norms[:, None, None]
    ).reshape(len(points), 9)


def _check(linearization, params, values, jacobian, dtype):
    """The cost, the gradient and products with JᵀJ; sums of m numbers lose √m roundings."""
    tolerance = 64 * np.sqrt(len(values)) * np.finfo(dtype).eps
    cost, gradient, product = linearization
    direction = np.linspace(-1, 1, 9)
    lengths = np.linalg.norm(jacobian, axis=0)
    np.testing.assert_allclose(cost, 0.5 * values @ values, rtol=tolerance)
    np.testing.assert_allclose(
        gradient / lengths, values @ jacobian / lengths, atol=tolerance * np.linalg.norm(values)
    )
    np.testing.assert_allclose(
        product / lengths,
        jacobian.T @ (jacobian @ direction) / lengths,
        atol=tolerance * np.linalg.norm(np.abs(jacobian) @ np.abs(direction)),
    )


def _parts(found):
    """What :func:`_check` looks at."""
    return (
        found.cost,
        found.gradient,
        found.curvature.product(jnp.linspace(-1, 1, 9, dtype=found.gradient.dtype)),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["forward", "auto"])
@pytest.mark.parametrize("form", [Form.NORMAL, Form.JACOBIAN, Form.OPERATOR])
def test_of_residuals(form, mode, dtype):
    matrix = (1.1 * MATRIX).astype(dtype)
    structure = Structure.of(matrix)

    @jax.jit
    def linearized(flat, points, lengths):
        objective = ResidualObjective(
            (points, lengths), as_pytree_callable(residuals, "f"), structure, Jacobians(mode)
        )
        return _parts(objective.linearize(flat, form))

    for rows in ROWS:
        data = _data(rows, dtype)
        with scope(dtype):
            got = [np.asarray(part, float) for part in linearized(matrix.ravel(), *data)]
        _check(got, matrix, *_exact(matrix.astype(float), *data), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [Form.NORMAL, Form.JACOBIAN, Form.OPERATOR])
def test_of_models(form, dtype):
    """The loss of half the mean of squares has 1/m of the sums."""
    matrix = (1.1 * MATRIX).astype(dtype)
    structure = Structure.of(matrix)

    def model(matrix, points):
        return jax.vmap(lambda point: jnp.linalg.norm(matrix @ point))(points)[:, None]

    @jax.jit
    def linearized(flat, points, lengths):
        rows = Rows(points, lengths[:, None], None)
        objective = SupervisedObjective(
            rows, as_pytree_callable(model, "f"), None, find_loss("mse"), structure
        )
        return _parts(objective.linearize(flat, form))

    for rows in ROWS:
        data = _data(rows, dtype)
        with scope(dtype):
            got = [np.asarray(part, float) for part in linearized(matrix.ravel(), *data)]
        values, jacobian = _exact(matrix.astype(float), *data)
        scale = np.sqrt(2 / rows)  # Keras' mean of squares is not halved
        _check(got, matrix, values * scale, jacobian * scale, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_fits_in_a_program_of_the_callers(dtype):
    """The cost that is told is the true one, and below that at the truth."""

    def fit(start, points, lengths):
        solution = lmjax.least_squares(residuals, start, (points, lengths))
        return solution.params, solution.cost

    for rows in (16_385, 32_769):
        points, lengths = _data(rows, dtype)
        with scope(dtype):
            for run in (fit, jax.jit(fit)):
                found, cost = run((1.1 * MATRIX).astype(dtype), points, lengths)
                true, best = (
                    0.5 * np.sum(_exact(np.asarray(m, float), points, lengths)[0] ** 2)
                    for m in (found, MATRIX)
                )
                assert cost == pytest.approx(true, rel=64 * np.sqrt(rows) * np.finfo(dtype).eps)
                assert true <= best
