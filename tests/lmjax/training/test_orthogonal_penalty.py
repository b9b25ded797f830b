"""The penalty on cosines between rows or columns: Keras' formula, its derivatives, and its fits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.losses.named import find_loss
from lmjax._src.objectives.penalties.orthogonality import NEAR
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.dataset import make_rows
from lmjax._src.training.penalties import penalty_of

N = 60
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 3))
Y = np.sin(X.sum(axis=1, keepdims=True))
START = {
    "bias": RANDOM.normal(size=4),
    "kernel": RANDOM.normal(size=(3, 4)),
    "out": RANDOM.normal(size=(4, 2)),
}
NONE = dict.fromkeys(START, 0.0)
ROWS, COLUMNS = NONE | {"kernel": 0.03, "out": 0.01}, NONE | {"kernel": 0.02}
FACTORS = {"orthogonal_rows": ROWS, "orthogonal_columns": COLUMNS}
SOLVERS = {
    "normal": lmjax.Cholesky(),
    "dual": lmjax.DualCholesky(),
    "rows": lmjax.QR(),
    "operator": lmjax.ConjugateGradients(),
}


def network(params, x):
    return jnp.tanh(x @ params["kernel"] + params["bias"]) @ params["out"][:, :1]


def keras_formula(matrix, factor, axis):
    """As ``OrthogonalRegularizer`` has it, of which rows and columns are the axes 0 and 1."""
    inverse = jax.lax.rsqrt(jnp.sum(matrix**2, axis=1 - axis, keepdims=True))
    directions = matrix * jnp.minimum(inverse, 1e7)
    directions = directions if axis == 0 else directions.T
    size = len(directions)
    apart = directions @ directions.T * (1 - jnp.eye(size))
    return factor * 0.5 * jnp.sum(jnp.abs(apart)) / (size * (size - 1) / 2)


def penalty_by_formula(params):
    return sum(
        keras_formula(params[name], factor, axis)
        for axis, factors in enumerate((ROWS, COLUMNS))
        for name, factor in factors.items()
        if factor
    )


def loss_by_formula(params):
    return jnp.mean((network(params, X) - Y) ** 2) + penalty_by_formula(params)


def objective_of(l2=None):
    """In double, with the parameters as a vector."""
    dtype, structure = np.dtype(np.float64), Structure.of(START)
    penalty = penalty_of(l2, None, START, dtype, ROWS, COLUMNS)
    loss, model = find_loss("mse"), jax.tree_util.Partial(network)
    rows = make_rows(model, START, loss, X, Y, None, dtype, ("x", "y", "sample_weight"))
    return SupervisedObjective(rows, model, penalty, loss, structure), structure.flatten(START)


def test_value_and_slope_are_those_of_the_formula():
    with jax.enable_x64(True):
        objective, flat = objective_of()
        expected, slope = jax.jit(jax.value_and_grad(loss_by_formula))(START)
        values, gradient = jax.jit(SupervisedObjective.values_and_gradient)(objective, flat)
        assert float(objective.cost(values)) == pytest.approx(float(expected), rel=1e-14)
        np.testing.assert_allclose(gradient, objective.structure.flatten(slope), atol=1e-14)


@pytest.mark.parametrize("l2", [pytest.param(None, marks=pytest.mark.slow), 0.1])
def test_every_form_is_one_linearization(l2):
    """And its Gauss-Newton matrix is that of cosines that are linearized by JAX."""
    with jax.enable_x64(True):
        objective, flat = objective_of(l2)
        alone = dataclasses.replace(objective, penalty=None)
        vector = jnp.asarray(RANDOM.normal(size=flat.size))
        matrix = np.asarray(alone.linearize(flat, Form.NORMAL).curvature.matrix)
        matrix = matrix + (0 if l2 is None else 2 * l2) * np.eye(flat.size)
        for term in objective.penalty.orthogonal:
            matrix = matrix + by_jax(term, flat)
        gradient = jax.jit(SupervisedObjective.values_and_gradient)(objective, flat)[1]
        for form in Form:
            found = objective.linearize(flat, form)
            np.testing.assert_allclose(
                found.curvature.product(vector), matrix @ vector, rtol=1e-11, atol=1e-12
            )
            np.testing.assert_allclose(found.diagonal, np.diag(matrix), rtol=1e-10)
            np.testing.assert_allclose(found.gradient, gradient, rtol=1e-11, atol=1e-12)
            rows, rest = found.source
            total = 0 if rest is None else rest
            if rows is not None:
                total = total + found.curvature.pull(rows)
            np.testing.assert_allclose(total, gradient, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
def test_every_form_has_the_same_acceleration():
    with jax.enable_x64(True):
        objective, flat = objective_of(0.1)
        velocity = jnp.asarray(RANDOM.normal(size=flat.size))
        expected = objective.curvature_gradient(flat, velocity, Form.NORMAL).rest
        alone = dataclasses.replace(objective, penalty=None)
        assert not np.allclose(
            expected, alone.curvature_gradient(flat, velocity, Form.NORMAL).rest, rtol=0.1
        )
        np.testing.assert_allclose(
            objective.curvature_gradient(flat, velocity, Form.OPERATOR).rest, expected, rtol=1e-11
        )
        rows = objective.curvature_gradient(flat, velocity, Form.DUAL).rows
        jacobian = objective.linearize(flat, Form.JACOBIAN).curvature.jacobian
        np.testing.assert_allclose(rows @ jacobian, expected, rtol=1e-10, atol=1e-12)


def by_jax(term, flat):
    """Σ over pairs of curvature · ∇cos ∇cosᵀ."""

    def cosines(vector):
        matrix = vector[term.start : term.start + np.prod(term.shape)].reshape(term.shape)
        matrix = matrix.T if term.by_columns else matrix
        directions = matrix / jnp.linalg.norm(matrix, axis=1, keepdims=True)
        return (directions @ directions.T)[np.triu_indices(len(matrix), 1)]

    jacobian, found = map(np.asarray, jax.jit(lambda v: (jax.jacrev(cosines)(v), cosines(v)))(flat))
    weights = float(term.factor) / len(found) / np.maximum(np.abs(found), NEAR)
    return jacobian.T @ (weights[:, None] * jacobian)


def fit(params=START, x=X, y=Y, epochs=40, **options):
    return lmjax.fit(network, params, x, y, **(FACTORS | options), epochs=epochs, verbose=0)


def exact_loss(params):
    with jax.enable_x64(True):
        return float(loss_by_formula(jax.tree.map(lambda leaf: np.asarray(leaf, float), params)))


def least_by_adam(steps=20_000, rate=0.01):
    """Of the formula's loss, at the end of a rate that falls along half a cosine."""

    def step(carry, number):
        params, mean, squares = carry
        slope = jax.grad(loss_by_formula)(params)
        mean = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, mean, slope)
        squares = jax.tree.map(lambda old, new: 0.999 * old + 0.001 * new**2, squares, slope)
        now = rate * (1 + jnp.cos(jnp.pi * number / steps)) / 2

        def moved(leaf, one, two):
            return leaf - now * (one / (1 - 0.9 ** (number + 1))) / (
                jnp.sqrt(two / (1 - 0.999 ** (number + 1))) + 1e-8
            )

        return (jax.tree.map(moved, params, mean, squares), mean, squares), None

    with jax.enable_x64(True):
        start = jax.tree.map(jnp.asarray, START)
        zeros = jax.tree.map(jnp.zeros_like, start)
        run = jax.jit(lambda carry: jax.lax.scan(step, carry, jnp.arange(steps))[0][0])
        return float(loss_by_formula(run((start, zeros, zeros))))


def test_steps_lower_the_exact_loss_to_below_what_adam_reaches():
    result = fit()
    losses = [result.start["loss"], *result.history["loss"]]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(exact_loss(START), rel=1e-12)
    assert losses[-1] == pytest.approx(exact_loss(result.params), rel=1e-12)
    assert losses[-1] < least_by_adam()


def test_other_factors_compile_nothing(caplog):
    fit(epochs=4)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        fit(epochs=5, orthogonal_rows=NONE | {"kernel": 0.2, "out": 0.3})
    assert "Compiling" not in caplog.text


def cosines(matrix):
    directions = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return (directions @ directions.T)[np.triu_indices(len(matrix), 1)]


@pytest.mark.slow
def test_a_large_factor_makes_rows_orthogonal():
    result = fit(orthogonal_rows=NONE | {"kernel": 1.0}, orthogonal_columns=None)
    assert np.max(np.abs(cosines(START["kernel"]))) > 0.1
    assert np.max(np.abs(cosines(result.params["kernel"]))) < NEAR


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SOLVERS)
def test_every_form_gets_there(dtype, name):
    solver = lmjax.LevenbergMarquardt(linear_solver=SOLVERS[name], halvings=8)
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), START)
    result = fit(start, solver=solver, epochs=100)
    rounding = 1e-5 if dtype is np.float32 else 1e-12
    assert result.history["loss"][-1] == pytest.approx(exact_loss(result.params), rel=rounding)
    assert result.history["loss"][-1] < 1.005 * least_by_adam()


@pytest.mark.slow
def test_streams_samples_and_batches_get_there():
    best = least_by_adam()
    batches = [(X[i : i + 20], Y[i : i + 20]) for i in range(0, N, 20)]
    assert fit(x=batches, y=None).history["loss"][-1] < best
    x, y = np.tile(X, (200, 1)), np.tile(Y, (200, 1))
    solver = lmjax.LevenbergMarquardt(curvature_sample=16)
    result = fit(x=x, y=y, solver=solver, epochs=60)
    assert result.sampled_steps > 0
    assert result.history["loss"][-1] == pytest.approx(exact_loss(result.params), rel=1e-6)
    assert result.history["loss"][-1] < 1.01 * best
    result = fit(batch_size=20, epochs=60)
    assert min(result.history["loss"]) == pytest.approx(exact_loss(result.params), rel=1e-12)
    assert min(result.history["loss"]) < 2 * best


@pytest.mark.slow
def test_the_rows_of_the_penalty_count_where_a_form_is_chosen():
    """18 of the data and 15 for 24 parameters."""
    few = {"x": X[:18], "y": Y[:18], "epochs": 3}
    assert fit(**few, orthogonal_rows=None, orthogonal_columns=None).linear_solver == "DualCholesky"
    assert fit(**few).linear_solver == "Cholesky"


@pytest.mark.slow
def test_other_penalties_and_bounds_stand_beside():
    result = fit(l1=NONE | {"out": 0.02}, l2=0.001, bounds=(-1.0, 1.0), epochs=60)
    params = {name: np.asarray(leaf) for name, leaf in result.params.items()}
    assert all((np.abs(leaf) <= 1).all() for leaf in params.values())
    assert (params["out"] == 0).any()
    squares = sum(np.sum(leaf**2) for leaf in params.values())
    expected = exact_loss(params) + 0.02 * np.abs(params["out"]).sum() + 0.001 * squares
    assert result.history["loss"][-1] == pytest.approx(expected, rel=1e-9)


def test_rows_of_zeros_move_away():
    """They have no direction, and neither slope nor curvature beside the data's."""
    start = START | {"kernel": START["kernel"] * np.array([[0.0], [1.0], [1.0]])}
    result = fit(start, epochs=10)
    assert result.history["loss"][-1] < 0.3 * result.start["loss"]
    assert np.abs(result.params["kernel"][0]).max() > 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"orthogonal_rows": 0.1}, r"params\['bias'\], whose shape is \(4,\); make it 0"),
        ({"orthogonal_columns": NONE | {"kernel": -1.0}}, "orthogonal_columns: .* at least 0"),
        ({"orthogonal_rows": {"kernel": 0.1}}, "orthogonal_rows: .* a pytree that params extends"),
        (
            {"orthogonal_rows": NONE | {"kernel": np.eye(3, 4)}},
            r"one factor for all of params\['kernel'\]",
        ),
    ],
    ids=["a vector", "negative", "not all names", "several"],
)
def test_factors_that_do_not_fit_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        fit(**options)
