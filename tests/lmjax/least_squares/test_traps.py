"""What is easily written by mistake is told in words."""

import jax.numpy as jnp
import numpy as np
import pytest

import lmjax

X = np.linspace(0, 2, 12)
#: Options with small programs, which compile fast.
PLAIN = lmjax.LevenbergMarquardt(geodesic_acceleration=False, polish=False, second_run=False)


@pytest.mark.parametrize(
    "residual_fn",
    [
        lambda p, x: p[0] * np.exp(-p[1] * x),
        lambda p, x: np.where(x > 1, p[0], p[1] * x),
        lambda p, x: np.dot(np.stack([x, x], axis=1), p),
    ],
    ids=["np.exp", "np.where", "np.dot"],
)
def test_numpy_in_a_residual_function(residual_fn):
    with pytest.raises(TypeError) as caught:
        lmjax.least_squares(residual_fn, np.ones(2), (X,))
    said = str(caught.value)
    assert said.startswith("residual_fn: JAX cannot trace test_traps.py, line ")
    assert "np." in said.split("`")[1]  # the line itself
    assert "write this one with jax.numpy" in said


@pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")  # at its limit, far from zero
def test_one_number_for_several_parameters():
    def sum_of_squares(p, x):
        return jnp.sum((p[0] * x - p[1] - 1) ** 2)

    with pytest.warns(UserWarning, match="returned one number for 2 parameters") as caught:
        lmjax.least_squares(sum_of_squares, np.ones(2), (X,), solver=PLAIN)
    files = [each.filename for each in caught if "one number" in str(each.message)]
    assert files == [__file__]
    lmjax.least_squares(lambda p: p - 1, 2.0, solver=PLAIN)


@pytest.mark.slow
def test_a_table_of_differences():
    data = X[:, None], 2 * X
    with pytest.warns(UserWarning, match=r"returned shape \(12, 12\), more residuals than args"):
        lmjax.least_squares(lambda p, x, y: p * x - y, 1.0, data, solver=PLAIN)
    # As many data as residuals.
    table = np.subtract.outer(X, X)
    lmjax.least_squares(lambda p, x, d: p * (x[:, None] - x) - d, 1.0, (X, table), solver=PLAIN)
    lmjax.least_squares(lambda p, x, y: p * x[:, 0] - y, 1.0, data, solver=PLAIN)


PAIR = {"height": 1.0, "rate": 1.0}


@pytest.mark.parametrize(
    ("bounds", "params", "message"),
    [
        (
            ({"hight": 0.0, "rate": 0.0}, None),
            PAIR,
            r"params\['height'\] was given none, and there is no params\['hight'\]$",
        ),
        ((None, {"rate": 2.0}), PAIR, r"params\['height'\] was given none$"),
        (({"net": {"k": 0.0}}, None), {"net": PAIR}, r"there is no params\['net'\]\['k'\]$"),
        (([0.0, 0.0], None), [1.0, 1.0, 1.0], "params has 3 entries, and was given 2$"),
        (((0.0, 0.0), None), [1.0, 1.0], "params is of type list, and was given a tuple$"),
        (
            ({"a": np.zeros(2)}, None),
            {"a": np.ones(3)},
            r"params\['a'\] has shape \(3,\), and was given shape \(2,\)$",
        ),
        ([(0, 1)] * 3, np.ones(3), "3 were given: first all lower bounds, then all upper ones$"),
        (3.0, np.ones(3), "bounds: expected"),
    ],
    ids=["misspelt", "missing", "nested", "list", "tuple", "shape", "pairs", "number"],
)
def test_bounds_that_do_not_fit_name_the_parameter(bounds, params, message):
    with pytest.raises(ValueError, match=message) as caught:
        lmjax.least_squares(lambda p: jnp.ones(3), params, bounds=bounds)
    assert "\n" not in str(caught.value)
