"""Lists of residual functions and of parameters, as TensorFlow Graphics'
``levenberg_marquardt.minimize`` takes them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax


def added(x, y):
    return x + y


def multiplied(x, y):
    return x * y - 1.0


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::lmjax.ConvergenceWarning"
)  # the minimum in float32 is reached, and not known as one
@pytest.mark.parametrize("collection", [list, pytest.param(tuple, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
def test_a_list_of_functions_of_a_list_of_arrays(collection, dtype):
    """The example of their documentation, with residuals of several shapes from broadcasting."""
    x, y = np.array([[0.3, 0.8]], dtype), np.array([[0.1], [0.5], [0.9]], dtype)
    solution = lmjax.least_squares(collection((added, multiplied)), collection((x, y)))
    together = lmjax.least_squares(lambda p: (p[0] + p[1], p[0] * p[1] - 1.0), (x, y))
    assert isinstance(solution.params, collection)
    assert jax.tree.map(np.shape, solution.params) == collection(((1, 2), (3, 1)))
    np.testing.assert_allclose(
        solution.cost, together.cost, rtol=1e-5 if dtype == np.float32 else 1e-12
    )
    assert jax.tree.map(np.shape, solution.residuals()) == ((3, 2), (3, 2))
    assert float(solution.cost) == pytest.approx(
        sum(0.5 * np.sum(np.asarray(r) ** 2) for r in solution.residuals()), rel=1e-5
    )


@pytest.mark.slow
def test_one_variable_and_further_arguments():
    target = np.array([1.0, 3.0])
    solution = lmjax.least_squares(
        [lambda x, t: x - t, lambda x, t: 2 * (x - t)], np.zeros(2), (target,)
    )
    np.testing.assert_allclose(solution.params, target, rtol=1e-12)
    solution = lmjax.least_squares(
        [lambda x, t: x - t, lambda x, t: 2 * (x - t)], [np.zeros(2)], (target,)
    )
    np.testing.assert_allclose(solution.params[0], target, rtol=1e-12)
    solution = lmjax.least_squares([lambda p: p["a"] - 3.0], {"a": 1.0})
    assert solution.params["a"] == pytest.approx(3.0)


@pytest.mark.slow
def test_equal_lists_share_a_program(caplog):
    x, y = np.array([0.3, 0.8]), np.array([0.1, 0.2])
    lmjax.least_squares([added, multiplied], [x, y])
    with jax.log_compiles(), caplog.at_level("WARNING"):
        # From elsewhere the run may go on by QR, another program.
        lmjax.least_squares([added, multiplied], [x.copy(), y])
    assert "Compiling" not in caplog.text


@pytest.mark.slow
def test_steps_by_hand():
    with jax.enable_x64(True):
        solver, params = lmjax.LevenbergMarquardt(), [jnp.array(2.0), jnp.array(1.0)]
        state = solver.init([added, multiplied], params)
        for _ in range(3):
            params, state = solver.step([added, multiplied], params, state)
        assert float(state.cost) < 0.5 * 3**2 + 0.5


@pytest.mark.parametrize(
    ("functions", "error", "words"),
    [([], ValueError, "empty"), ([added, 3], TypeError, r"residual_fn\[1\]")],
)
def test_wrong_lists_are_named(functions, error, words):
    with pytest.raises(error, match=words):
        lmjax.least_squares(functions, [np.ones(2), np.ones(2)])
