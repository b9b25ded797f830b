"""The penalty Σ l1 |params|: its optimum, its exact value, and zeros that are exact."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax

N, P = 60, 12
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, P))
TRUTH = np.array([3.0, -2.0, 1.0, 0.3] + [0.0] * (P - 4))[:, None]
Y = X @ TRUTH + 0.1 * RANDOM.normal(size=(N, 1))
START = RANDOM.normal(size=(P, 1))
SOLVERS = {
    "normal": lmjax.Cholesky(),
    "dual": lmjax.DualCholesky(),
    "rows": lmjax.QR(),
    "operator": lmjax.ConjugateGradients(),
}


def linear(params, x):
    return x @ params


def lasso(x, y, l1, l2=0.0):
    """The optimum, one coordinate after the other until nothing moves."""
    weights = np.zeros((x.shape[1], 1))
    curvature = 2 * np.mean(x * x, axis=0) + 2 * l2
    for _ in range(10_000):
        before = weights.copy()
        for j in range(len(weights)):
            slope = 2 * np.mean(x[:, j] * (x @ weights - y)[:, 0]) + 2 * l2 * weights[j, 0]
            goal = curvature[j] * weights[j, 0] - slope
            weights[j, 0] = np.sign(goal) * max(abs(goal) - l1, 0) / curvature[j]
        if np.max(np.abs(weights - before)) < 1e-14:
            break
    return weights


def cost(weights, l1, l2=0.0, x=X, y=Y):
    weights = np.asarray(weights, float)
    squares = np.mean((x @ weights - y) ** 2)
    return float(squares + l1 * np.abs(weights).sum() + l2 * np.square(weights).sum())


def check_optimum(result, l1, l2=0.0, rel=1e-6):
    best = lasso(X, Y, l1, l2)
    assert cost(result.params, l1, l2) == pytest.approx(cost(best, l1, l2), rel=rel)
    assert result.history["loss"][-1] == pytest.approx(cost(result.params, l1, l2), rel=1e-6)
    np.testing.assert_array_equal(np.asarray(result.params) == 0, best == 0)
    return best


def test_a_linear_model_reaches_the_optimum_of_the_lasso():
    result = lmjax.fit(linear, START, X, Y, l1=0.2, epochs=30, verbose=0)
    assert np.sum(check_optimum(result, 0.2, rel=1e-12) != 0) < P
    assert result.status.success
    losses = [result.start["loss"], *result.history["loss"]]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.5, 0.0), (0.2, 0.05), (30.0, 0.0)])
def test_every_form_reaches_it(dtype, name, l1, l2):
    solver = lmjax.LevenbergMarquardt(linear_solver=SOLVERS[name])
    result = lmjax.fit(
        linear, START.astype(dtype), X, Y, l1=l1, l2=l2, solver=solver, epochs=60, verbose=0
    )
    check_optimum(result, l1, l2)


@pytest.mark.slow
def test_more_parameters_than_rows():
    """One of them without influence, which l1 alone decides on."""
    x = RANDOM.normal(size=(20, 50)) * (np.arange(50) != 7)
    y = x @ np.where(np.arange(50) < 4, 2.0, 0.0)[:, None]
    result = lmjax.fit(linear, np.ones((50, 1)), x, y, l1=0.1, epochs=100, verbose=0)
    best = lasso(x[:, np.arange(50) != 7], y, 0.1)
    assert result.linear_solver == "DualCholesky"
    expected = cost(best, 0.1, x=x[:, np.arange(50) != 7], y=y)
    assert cost(result.params, 0.1, x=x, y=y) == pytest.approx(expected, rel=1e-9)
    assert result.params[7, 0] == 0


@pytest.mark.slow
def test_streams_samples_and_trust_regions_reach_it():
    batches = [(X[i : i + 20], Y[i : i + 20]) for i in range(0, N, 20)]
    check_optimum(lmjax.fit(linear, START, batches, l1=0.2, epochs=30, verbose=0), 0.2)
    solver = lmjax.LevenbergMarquardt(damping=lmjax.TrustRegion())
    result = lmjax.fit(linear, START, X, Y, l1=0.2, solver=solver, epochs=60, verbose=0)
    check_optimum(result, 0.2)
    x, y = np.tile(X, (40, 1)), np.tile(Y, (40, 1))
    solver = lmjax.LevenbergMarquardt(curvature_sample=16)
    result = lmjax.fit(linear, START, x, y, l1=0.2, solver=solver, epochs=60, verbose=0)
    assert result.sampled_steps > 0
    check_optimum(result, 0.2)


@pytest.mark.slow
def test_bounds_and_l1_hold_together():
    result = lmjax.fit(linear, START, X, Y, l1=0.2, bounds=(-0.5, None), epochs=60, verbose=0)
    params = np.asarray(result.params)
    with jax.enable_x64(True):
        slope = np.asarray(jax.grad(lambda p: jnp.mean((X @ p - Y) ** 2))(params))
    inside, zero = params > -0.5, params == 0
    np.testing.assert_allclose((slope + 0.2 * np.sign(params))[inside & ~zero], 0, atol=1e-6)
    assert zero.any()
    assert (np.abs(slope[zero]) <= 0.2).all()
    assert (params == -0.5).any()
    assert (slope[params == -0.5] - 0.2 > 0).all()


def network(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_networks_become_sparse_and_losses_are_exact(batch_size, dtype):
    random = np.random.default_rng(1)
    start = {
        "w": random.normal(size=(P, 6)).astype(dtype),
        "b": np.zeros(6, dtype),
        "v": random.normal(size=(6, 1)).astype(dtype),
    }
    l1, y = {"w": 0.01, "b": 0.0, "v": 0.003}, np.sin(2 * X[:, :1])
    result = lmjax.fit(
        network, start, X, y, l1=l1, batch_size=batch_size, epochs=60, verbose=0, restore="training"
    )
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, float), result.params)
        expected = float(np.mean((np.asarray(network(params, X)) - y) ** 2))
    expected += sum(factor * np.abs(params[name]).sum() for name, factor in l1.items())
    assert min(result.history["loss"]) == pytest.approx(expected, rel=1e-6)
    assert np.sum(params["w"] == 0) > 0.5 * params["w"].size
    losses = [result.start["loss"], *result.history["loss"]]
    rounding = 4 * float(np.finfo(dtype).eps)
    assert batch_size or all(b <= a * (1 + rounding) for a, b in itertools.pairwise(losses))


@pytest.mark.slow
def test_success_is_said_at_a_stationary_point_alone():
    """The least subgradient of the whole cost vanishes."""
    for seed in range(10):
        random = np.random.default_rng(seed)
        x, y = random.normal(size=(30, 4)), random.normal(size=(30, 1))
        start = {
            "w": random.normal(size=(4, 3)),
            "b": random.normal(size=3),
            "v": random.normal(size=(3, 1)),
        }
        result = lmjax.fit(network, start, x, y, l1=0.02, epochs=400, verbose=0)
        if not result.status.success:
            continue
        with jax.enable_x64(True):
            slope = jax.grad(lambda p, x=x, y=y: jnp.mean((network(p, x) - y) ** 2))(result.params)
        slope = jax.tree.map(np.asarray, slope)
        for leaf, given in zip(jax.tree.leaves(slope), jax.tree.leaves(result.params), strict=True):
            least = np.where(
                given == 0, np.maximum(np.abs(leaf) - 0.02, 0), leaf + 0.02 * np.sign(given)
            )
            np.testing.assert_allclose(least, 0, atol=1e-4)


def test_factors_that_are_none_are_refused():
    for l1, words in ((-0.1, "l1: expected factors"), ([1.0, 2.0], "l1: expected a number")):
        with pytest.raises(ValueError, match=words):
            lmjax.fit(linear, START, X, Y, l1=l1, verbose=0)


@pytest.mark.slow
def test_a_trainer_takes_it():
    trainer = lmjax.Trainer(linear, START, l1=0.2, bounds=(-1.0, None))
    for _ in range(60):
        loss = trainer.step(X, Y)
    assert loss == pytest.approx(cost(trainer.params, 0.2), rel=1e-6)
    params = np.asarray(trainer.params)
    assert (params >= -1).all()
    assert (params == 0).any()
