"""Bayesian regularization against closed forms, brute force and its own other forms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.bayesian.evidence import effective_params
from lmjax._src.training.bayesian.laplace import _inverse_root
from lmjax.losses import find_loss

RANDOM = np.random.default_rng(0)
ROWS, WIDTH, NOISE = 40, 6, 0.3
X = RANDOM.normal(size=(ROWS, WIDTH))
Y = X @ RANDOM.normal(size=WIDTH) + NOISE * RANDOM.normal(size=ROWS)


#: Whatever tests went before, each draws the same numbers.
STATE = RANDOM.bit_generator.state


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    RANDOM.bit_generator.state = STATE


def line(params: Any, x: jax.Array) -> jax.Array:
    return (x @ params["w"])[:, None]


def network(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params["kernel"] + params["bias"]) @ params["out"] + params["offset"]


def a_start(units: int = 8, inputs: int = 1, seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "kernel": random.normal(size=(inputs, units)),
        "bias": random.normal(size=units),
        "out": random.normal(size=(units, 1)) / units,
        "offset": np.zeros(1),
    }


def fit(model: Any, start: Any, x: Any, y: Any, epochs: int = 200, **options: Any) -> Any:
    options = {"regularization": "bayesian", "verbose": 0} | options
    return lmjax.fit(model, start, x, y, epochs=epochs, **options)


def log_evidence(alpha: float, beta: float, x: np.ndarray = X, y: np.ndarray = Y) -> float:
    """Of a linear model with unknown weights of precision α, and noise of precision β."""
    covariance = np.eye(len(y)) / beta + x @ x.T / alpha
    determinant = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return float(-0.5 * y @ np.linalg.solve(covariance, y) - 0.5 * determinant)


def test_a_linear_model_equals_its_closed_forms() -> None:
    result = fit(line, {"w": np.full(WIDTH, 0.1)}, X, Y[:, None], epochs=400)
    posterior = result.posterior
    (alpha,) = posterior.precisions.values()
    beta = 1 / posterior.noise_std**2
    assert result.status.success
    matrix = alpha * np.eye(WIDTH) + beta * X.T @ X
    mean = beta * np.linalg.solve(matrix, X.T @ Y)
    np.testing.assert_allclose(result.params["w"], mean, rtol=1e-8)
    effective = WIDTH - alpha * np.trace(np.linalg.inv(matrix))
    assert posterior.num_effective_params == pytest.approx(effective, rel=1e-8)
    assert posterior.log_evidence == pytest.approx(log_evidence(alpha, beta), rel=1e-8)
    new = RANDOM.normal(size=(5, WIDTH))
    predicted, std = posterior.predict(new)
    variance = np.einsum("ni,ij,nj->n", new, np.linalg.inv(matrix), new)
    np.testing.assert_allclose(predicted[:, 0], new @ mean, rtol=1e-8)
    np.testing.assert_allclose(std[:, 0], np.sqrt(variance + 1 / beta), rtol=1e-8)
    np.testing.assert_allclose(
        posterior.predict(new, kind="confidence").std[:, 0], np.sqrt(variance), rtol=1e-8
    )
    # The fixed point is the maximum of the evidence.
    best = log_evidence(alpha, beta)
    for factor in (0.97, 1.03):
        assert log_evidence(alpha * factor, beta) < best
        assert log_evidence(alpha, beta * factor) < best


def test_leaving_one_out_is_leaving_one_out() -> None:
    """Errors over deviations against fits without each row, with the same precisions."""
    posterior = fit(line, {"w": np.full(WIDTH, 0.1)}, X, Y[:, None]).posterior
    (alpha,), beta = posterior.precisions.values(), 1 / posterior.noise_std**2
    for row, score in enumerate(posterior.leave_one_out()):
        rest, target = np.delete(X, row, axis=0), np.delete(Y, row)
        matrix = alpha * np.eye(WIDTH) + beta * rest.T @ rest
        error = Y[row] - X[row] @ np.linalg.solve(matrix, beta * rest.T @ target)
        deviation = np.sqrt(1 / beta + X[row] @ np.linalg.solve(matrix, X[row]))
        assert score == pytest.approx(abs(error) / deviation, rel=1e-6)


def test_all_forms_count_the_same_parameters() -> None:
    """Of J itself, of JᵀJ, and of J Jᵀ by the arrays of the model; and all of them as defined."""
    x = RANDOM.normal(size=(15, 3))
    start = a_start(units=10, inputs=3)
    structure = Structure.of(start)
    numbers = np.repeat(np.arange(4), [leaf.size for leaf in jax.tree.leaves(start)])
    with jax.enable_x64(True):
        flat = jnp.asarray(structure.flatten_concrete(start, np.dtype("float64")))
        objective = SupervisedObjective(
            Rows(jnp.asarray(x), jnp.asarray(x[:, :1]), None),
            jax.tree_util.Partial(network),
            None,
            find_loss("mse"),
            structure,
            layerwise=True,
        )
        ridges = jnp.asarray([0.1, 0.02, 0.3, 0.001])
        rows = objective.linearize(flat, Form.DUAL).curvature
        normal = objective.linearize(flat, Form.NORMAL).curvature
        layers = objective.linearize(structure.split(flat), Form.DUAL).curvature
        counted = [
            effective_params(rows, ridges[numbers], numbers, 4),
            effective_params(normal, ridges[numbers], numbers, 4),
            effective_params(layers, ridges, np.arange(4), 4),
        ]
        matrix = np.asarray(rows.jacobian.T @ rows.jacobian)
    ridge = np.asarray(ridges)[numbers]
    shares = np.diagonal(matrix @ np.linalg.inv(matrix + np.diag(ridge)))
    wanted = np.bincount(numbers, shares)
    for found in counted:
        np.testing.assert_allclose(found, wanted, rtol=1e-8)


@pytest.mark.parametrize("solver", [lmjax.DualCholesky(), lmjax.Cholesky()], ids=["dual", "normal"])
def test_more_parameters_than_data_are_not_all_determined(solver: Any) -> None:
    x = np.linspace(-1, 1, 15)[:, None]
    y = np.sin(3 * x) + 0.1 * RANDOM.normal(size=x.shape)
    options = lmjax.LevenbergMarquardt(linear_solver=solver)
    posterior = fit(network, a_start(units=10), x, y, epochs=100, solver=options).posterior
    assert 2 < posterior.num_effective_params < len(x) < posterior.num_params
    std = posterior.predict(np.array([[0.0], [3.0]]), kind="confidence").std
    assert 0 < std[0, 0] < std[1, 0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_noise_and_curve_of_a_sine_are_found(dtype: str) -> None:
    x = np.linspace(-1, 1, 100)[:, None].astype(dtype)
    y = (np.sin(4 * x) + 0.2 * RANDOM.normal(size=x.shape)).astype(dtype)
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), a_start(units=20))
    result = fit(network, start, x, y)
    posterior = result.posterior
    assert posterior.noise_std == pytest.approx(0.2, rel=0.25)
    assert posterior.num_effective_params < 20 < posterior.num_params
    assert np.sqrt(np.mean((posterior.predict(x).mean - np.sin(4 * x)) ** 2)) < 0.1
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(result.params))
    plain = fit(network, start, x, y, regularization=None)
    assert plain.history["loss"][-1] < result.history["loss"][-1]
    # The loss that is reported is without the penalty.
    residual = np.asarray(network(result.params, x)) - y
    assert result.history["loss"][-1] == pytest.approx(
        float(np.mean(np.square(residual))), rel=1e-5
    )


@pytest.mark.slow
def test_it_warns_where_nothing_is_left_for_the_noise() -> None:
    x = np.linspace(-1, 1, 20)[:, None]
    y = np.sin(3 * x) + 0.2 * np.random.default_rng(3).normal(size=x.shape)
    before = fit(network, a_start(units=10), x, y, epochs=500, regularization=None)
    assert before.history["loss"][-1] < 1e-6
    with pytest.warns(UserWarning, match="leaves nothing for their noise"):
        fit(network, before.params, x, y)
    again = fit(network, before.params, x, y, restarts=[a_start(units=10)])
    assert again.best_start == 1
    assert again.posterior.noise_std == pytest.approx(0.2, rel=0.4)


def test_cross_entropies_have_no_noise() -> None:
    x = RANDOM.normal(size=(150, 2))
    labels = (x[:, :1] * x[:, 1:] + 0.3 * RANDOM.normal(size=(150, 1)) > 0).astype(float)

    def classifier(params: Any, x: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(network(params, x))

    start = a_start(inputs=2)
    result = fit(classifier, start, x, labels, loss="binary_crossentropy", epochs=100)
    posterior = result.posterior
    assert posterior.noise_std is None
    assert posterior.leave_one_out().size == 0
    assert 1 < posterior.num_effective_params < 30
    mean, std = posterior.predict(x)
    assert ((mean >= 0) & (mean <= 1)).all()
    assert (std > 0).all()
    plain = fit(classifier, start, x, labels, loss="binary_crossentropy", regularization=None)
    fresh = np.random.default_rng(5).normal(size=(2000, 2))
    truth = fresh[:, 0] * fresh[:, 1] > 0

    def loss_of(params: Any) -> float:
        found = np.asarray(classifier(params, fresh), np.float64)[:, 0]
        chance = np.clip(found, 1e-12, 1 - 1e-12)
        return float(-np.mean(np.log(np.where(truth, chance, 1 - chance))))

    assert loss_of(result.params) < loss_of(plain.params)


@pytest.mark.slow
def test_weights_of_rows_are_repetitions() -> None:
    counts = RANDOM.integers(0, 4, ROWS)
    start = {"w": np.full(WIDTH, 0.1)}
    weighted = fit(line, start, X, Y[:, None], sample_weight=counts * 1.0, epochs=400)
    left = counts > 0
    alone = fit(line, start, X[left], Y[left, None], sample_weight=counts[left] * 1.0, epochs=400)
    a, b = weighted.posterior, alone.posterior
    assert a.log_evidence == pytest.approx(b.log_evidence, rel=1e-7)
    assert a.noise_std == pytest.approx(b.noise_std, rel=1e-7)


@pytest.mark.slow
def test_groups_of_inputs_find_those_that_say_nothing() -> None:
    x = RANDOM.normal(size=(120, 4))
    y = np.sin(2 * x[:, :1]) + 0.1 * RANDOM.normal(size=(120, 1))
    start = a_start(units=6, inputs=4)
    groups = {
        "kernel": np.arange(4)[:, None] * np.ones((1, 6), int),
        "bias": 4,
        "out": 5,
        "offset": 6,
    }
    result = fit(network, start, x, y, regularization=lmjax.Bayesian(groups))
    precisions = list(result.posterior.precisions.values())
    assert min(precisions[1:4]) > 30 * precisions[0]


def test_groups_within_arrays_count_in_the_dual_form_too() -> None:
    """Where there are fewer rows than parameters, arrays have one number each, else."""
    x = RANDOM.normal(size=(25, 3))
    y = np.sin(2 * x[:, :1]) + 0.05 * RANDOM.normal(size=(25, 1))
    start = a_start(units=6, inputs=3)
    groups = {"kernel": np.arange(3)[:, None] * np.ones((1, 6), int), "bias": 3, "out": 4}
    result = fit(
        network,
        start,
        x,
        y,
        epochs=60,
        regularization=lmjax.Bayesian({**groups, "offset": 5}),
    )
    assert result.linear_solver == "DualCholesky"
    precisions = list(result.posterior.precisions.values())
    assert len(precisions) == 6
    assert 10 * precisions[0] < min(precisions[1:3])  # the others say nothing
    assert 2 < result.posterior.num_effective_params < 20


def test_a_curvature_that_rounding_leaves_indefinite_has_a_root() -> None:
    thin = RANDOM.normal(size=(30, 3)) * [1.0, 1e3, 1e-3]
    matrix = thin @ thin.T + 1e-16 * np.eye(30)
    root, determinant = _inverse_root(matrix)
    assert np.isfinite(root).all()
    assert np.isfinite(determinant)
    good = matrix + np.eye(30)
    root, determinant = _inverse_root(good)
    np.testing.assert_allclose(root @ root.T @ good, np.eye(30), atol=1e-6)
    assert determinant == pytest.approx(np.linalg.slogdet(good)[1], rel=1e-9)


@pytest.mark.slow
def test_starts_are_ranked_by_evidence() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    y = np.sin(6 * x) + 0.1 * RANDOM.normal(size=x.shape)
    points = [a_start(seed=seed) for seed in range(4)]
    result = fit(network, points[0], x, y, restarts=points[1:], epochs=60)
    alone = [fit(network, point, x, y, epochs=60).posterior.log_evidence for point in points]
    assert result.best_start == int(np.argmax(alone))
    assert result.posterior.log_evidence == pytest.approx(max(alone), rel=1e-3)


def test_it_goes_on_as_if_it_had_not_ended() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    y = np.sin(6 * x) + 0.1 * RANDOM.normal(size=x.shape)
    begun = fit(network, a_start(), x, y, epochs=20).state  # with the better of two strengths
    whole = fit(network, a_start(), x, y, epochs=30, state=begun)
    half = fit(network, a_start(), x, y, epochs=12, state=begun)
    ended = fit(network, a_start(), x, y, epochs=18, state=half.state)
    assert half.history["loss"] + ended.history["loss"] == whole.history["loss"]
    assert ended.posterior.log_evidence == whole.posterior.log_evidence


@pytest.mark.slow
def test_draws_have_the_covariance_of_the_posterior() -> None:
    x = np.linspace(-1, 1, 15)[:, None]
    y = np.sin(3 * x) + 0.1 * RANDOM.normal(size=x.shape)
    for units in (2, 10):  # fewer parameters than data, and more
        result = fit(network, a_start(units=units), x, y, epochs=60)
        posterior = result.posterior
        drawn = posterior.sample_params(0, 20_000)
        assert drawn["kernel"].shape == (20_000, 1, units)
        new = np.array([[-1.0], [0.2], [2.0]])
        functions = posterior.sample(jax.random.key(1), new, 20_000)
        assert functions.shape == (20_000, 3, 1)
        std = posterior.predict(new, kind="confidence").std
        np.testing.assert_allclose(functions.std(axis=0), std, rtol=0.03)
        with jax.enable_x64(True):
            rows = jnp.asarray(new)
            jacobian = jax.jacfwd(lambda p, rows=rows: network(p, rows)[:, 0])(result.params)
        moves = sum(
            np.asarray(jacobian[name]).reshape(3, -1)
            @ (each - each.mean(axis=0)).reshape(20_000, -1).T
            for name, each in drawn.items()
        )
        np.testing.assert_allclose(np.std(moves, axis=1), std[:, 0], rtol=0.03)


@pytest.mark.parametrize(
    "calibration",
    ["auto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("plain", "conformal"))],
)
def test_intervals_cover_what_they_say(calibration: str) -> None:
    inside = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        x = random.normal(size=(60, 2))
        y = x @ [[1.0], [-2.0]] + 0.5 * random.normal(size=(60, 1))
        start = {"w": np.full(2, 0.1)}
        posterior = fit(line, start, x, y, epochs=60).posterior
        new = random.normal(size=(50, 2))
        truth = new @ [[1.0], [-2.0]] + 0.5 * random.normal(size=(50, 1))
        lower, upper = posterior.predict_interval(new, 0.9, calibration=calibration)  # type: ignore[arg-type]
        inside.append(np.mean((lower < truth) & (truth < upper)))
    # Of 1 000 draws, but 20 fits: two per cent is about two deviations.
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_what_does_not_go_with_it_is_refused() -> None:
    start, y = {"w": np.full(WIDTH, 0.1)}, Y[:, None]
    for name, value in {"l2": 1.0, "l1": 1.0, "bounds": (-1.0, 1.0), "batch_size": 8}.items():
        with pytest.raises(ValueError, match=f"{name}: not with regularization"):
            fit(line, start, X, y, **{name: value})
    with pytest.raises(ValueError, match="regularization: 'bayesian' needs a loss"):
        fit(line, start, X, y, loss="mae")
    products = lmjax.LevenbergMarquardt(linear_solver=lmjax.ConjugateGradients())
    with pytest.raises(ValueError, match="ConjugateGradients takes its products alone"):
        fit(line, start, X, y, solver=products)
    with pytest.raises(ValueError, match="these are streamed"):
        fit(line, start, [(X, y)], None)
    with pytest.raises(ValueError, match="regularization: expected None"):
        fit(line, start, X, y, regularization="ridge")
    with pytest.raises(ValueError, match="groups: expected 'arrays'"):
        fit(line, start, X, y, regularization=lmjax.Bayesian("layers"))
    with pytest.raises(ValueError, match="groups: expected whole numbers"):
        fit(line, start, X, y, regularization=lmjax.Bayesian({"w": 0.5}))
    plain = fit(line, start, X, y, regularization=None)
    with pytest.raises(ValueError, match="posterior: this fit has none"):
        _ = plain.posterior
    posterior = fit(line, start, X, y).posterior
    with pytest.raises(ValueError, match="kind: expected"):
        posterior.predict(X, kind="both")
    with pytest.raises(ValueError, match="level: expected a probability"):
        posterior.predict_interval(X, 1.0)
    with pytest.raises(ValueError, match="calibration: expected"):
        posterior.predict_interval(X, calibration="some")
    with pytest.raises(ValueError, match="x: expected at least one row"):
        posterior.predict(X[:0])
    for key in ("a", -1, 0.5, None):
        with pytest.raises(ValueError, match="key: expected a whole number of at least 0"):
            posterior.sample_params(key)
