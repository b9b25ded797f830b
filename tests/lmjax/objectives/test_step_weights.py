"""Weights of steps: those of a sequence's steps are those of as many rows with one step each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.layerwise import normal_plan
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives import mean_loss as loss_over_rows
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.losses import step_weights
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.plots.names import NOT_METRICS
from lmjax._src.training.epochs import sampling
from lmjax.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

N, T = 7, 5
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, T, 2))
#: Half of them zero, as under a mask
WEIGHTS = RANDOM.random((N, T)) * RANDOM.integers(0, 2, (N, T))
START = {
    "bias": RANDOM.normal(size=4),
    "in": RANDOM.normal(size=(2, 4)),
    "out": RANDOM.normal(size=(4, 3)),
}


def network(params, x):
    return jnp.tanh(x @ params["in"] + params["bias"]) @ params["out"]


def mean_loss(params, x, y, weights):
    """The weighted mean squared error of :func:`network`, in NumPy's double precision."""
    outputs = np.tanh(x @ params["in"] + params["bias"]) @ params["out"]
    return float(np.mean(np.square(outputs - y).mean(axis=-1) * weights))


def softmax(params, x):
    return jax.nn.softmax(network(params, x))


CASES = {
    "mse": (network, MeanSquaredError(), RANDOM.normal(size=(N, T, 3))),
    "binary logits": (network, BinaryCrossentropy(from_logits=True), RANDOM.random((N, T, 3))),
    "categorical": (
        softmax,
        CategoricalCrossentropy(label_smoothing=0.1),
        np.eye(3)[RANDOM.integers(0, 3, (N, T))],
    ),
    "sparse": (softmax, SparseCategoricalCrossentropy(), RANDOM.integers(0, 3, (N, T))),
}


def pair(case):
    """An objective with weights of steps, and the same with a row for each step."""
    model, loss, targets = CASES[case]
    structure = Structure.of(START)
    rows = Rows(X, targets, WEIGHTS)
    by_step = SupervisedObjective(
        rows,
        jax.tree_util.Partial(model),
        Penalty(jnp.full(24, 0.01)),
        loss,
        structure,
        layerwise=True,
    )
    flat = jax.tree.map(lambda leaf: leaf.reshape(N * T, *leaf.shape[2:]), rows)
    return jax.tree.map(jnp.asarray, (by_step, dataclasses.replace(by_step, rows=flat)))


def everything(objective, params):
    """What each form of the linearization says: cost, gradient, JᵀJ."""
    columns = jnp.eye(params.size)
    values, gradient = objective.values_and_gradient(params)
    found = {
        "values": (objective.cost(values), gradient, objective.cost(objective.evaluate(params)))
    }
    normal_form = objective.linearize(params, Form.NORMAL)
    found["normal"] = (normal_form.cost, normal_form.gradient, normal_form.curvature.matrix)
    operator = objective.linearize(params, Form.OPERATOR)
    found["operator"] = (
        operator.gradient,
        operator.diagonal,
        jax.vmap(operator.curvature.product)(columns),
    )
    along = objective.curvature_gradient(params, params, Form.NORMAL).rest
    split = objective.structure.split
    for name, chosen, start, flatten in (
        ("dual", objective, params, jnp.asarray),
        ("by arrays", objective.by_arrays(), split(params), objective.structure.flatten),
    ):
        dual = chosen.linearize(start, Form.DUAL)
        product = jax.vmap(
            lambda v, dual=dual, like=start, flatten=flatten: flatten(
                dual.curvature.product(split(v) if isinstance(like, list) else v)
            )
        )
        source = chosen.curvature_gradient(start, start, Form.DUAL).rows
        found[name] = (
            dual.cost,
            flatten(dual.gradient),
            product(columns),
            flatten(dual.curvature.pull(source)) - along,
        )
    return found | {"second derivatives": along}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "chunk_bytes"), [("binary logits", 2**30), ("categorical", 2**30), ("sparse", 1)]
)
def test_every_form_is_that_of_a_row_for_each_step(case, chunk_bytes, monkeypatch):
    monkeypatch.setattr(loss_over_rows, "CHUNK_BYTES", chunk_bytes)
    with jax.enable_x64(True):
        by_step, by_row = pair(case)
        params = by_step.structure.flatten(START)
        ours, oracle = (jax.jit(everything)(objective, params) for objective in (by_step, by_row))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), ours, oracle)


@pytest.mark.slow
def test_the_sum_by_layers_is_that_of_the_rows(monkeypatch):
    with jax.enable_x64(True):
        objective, _ = pair("sparse")
        flat = {
            "in": jnp.ones((2 * T, 4)),
            "bias": jnp.zeros(4),
            "out": jnp.asarray(RANDOM.normal(size=(4, 3 * T))),
        }
        model = jax.tree_util.Partial(
            lambda params, x: softmax(params, x.reshape(-1, 2 * T)).reshape(-1, T, 3)
        )
        objective = dataclasses.replace(
            objective, model=model, structure=Structure.of(flat), penalty=None
        )
        params = objective.structure.flatten(flat)
        plain = objective.linearize(params, Form.NORMAL)
        monkeypatch.setattr(normal_plan, "_WORTHWHILE", -np.inf)
        assert objective.normal_plan(params) is not None
        by_layers = objective.linearize(params, Form.NORMAL)
        np.testing.assert_allclose(by_layers.curvature.matrix, plain.curvature.matrix, atol=1e-12)
        np.testing.assert_allclose(by_layers.gradient, plain.gradient, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
def test_a_fit_is_that_of_a_row_for_each_step(dtype, tmp_path):
    model, loss, targets = CASES["sparse"]
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), START)
    options = {"loss": loss, "epochs": 5, "verbose": 0}
    flat = [part.reshape(N * T, *part.shape[2:]) for part in (X, targets, WEIGHTS)]
    oracle = lmjax.fit(
        model, start, *flat[:2], sample_weight=flat[2], validation_data=tuple(flat), **options
    ).history
    np.save(tmp_path / "x.npy", X)
    batches = [
        (X[:3], targets[:3, :, None], WEIGHTS[:3, :, None]),
        (X[3:4], targets[3:4], WEIGHTS[3:4]),
        (X[4:], targets[4:], WEIGHTS[4:]),
    ]
    fits = {
        "memory": lmjax.fit(
            model,
            start,
            X,
            targets,
            sample_weight=WEIGHTS,
            validation_data=(X, targets, WEIGHTS),
            **options,
        ),
        "map": lmjax.fit(
            model,
            start,
            np.load(tmp_path / "x.npy", mmap_mode="r"),
            targets,
            sample_weight=WEIGHTS,
            **options,
        ),
        "batches": lmjax.fit(model, start, batches, validation_data=batches, **options),
    }
    for result in fits.values():
        for name in set(result.history) - NOT_METRICS:
            np.testing.assert_allclose(
                result.history[name], oracle[name], rtol=2e4 * np.finfo(dtype).eps
            )


def test_batches_and_trainer():
    model, loss, targets = CASES["mse"]
    result = lmjax.fit(
        model,
        START,
        X,
        targets,
        loss=loss,
        sample_weight=WEIGHTS,
        batch_size=3,
        epochs=20,
        verbose=0,
    )
    streamed = lmjax.fit(
        model, START, [(X, targets, WEIGHTS)], loss=loss, batch_size=3, epochs=20, verbose=0
    )
    first = mean_loss(START, X, targets, WEIGHTS)
    for fitted in (result, streamed):
        assert min(fitted.history["loss"]) == pytest.approx(
            mean_loss(fitted.params, X, targets, WEIGHTS), rel=1e-12
        )
        assert min(fitted.history["loss"]) < 0.7 * first
    trainer = lmjax.Trainer(model, START, loss=loss)
    assert trainer.step(X, targets, WEIGHTS) == pytest.approx(first, rel=1e-12)
    smaller = mean_loss(trainer.params, X[:2], targets[:2], WEIGHTS[:2])
    # Filled up with rows of weight zero.
    assert trainer.step(X[:2], targets[:2], WEIGHTS[:2]) == pytest.approx(smaller, rel=1e-12)


def _weighted_rows(copies):
    """Rows 0 to 199 with weights of steps, so many times over, and a value for each step."""
    random = np.random.default_rng(0)
    weights = random.random((200, 3)) * random.random((200, 1)) ** 2
    values = random.random((200, 3))
    numbers = np.tile(np.arange(200.0), copies)
    rows = Rows(numbers, np.zeros(len(numbers)), np.tile(weights, (copies, 1)))
    return rows, values, float(np.mean(weights * values))


def test_a_sample_keeps_the_mean():
    """Rows are drawn by their mean weights; the sample's mean loss is that of all rows, on
    average.
    """
    rows, values, exact = _weighted_rows(copies=2000)
    drawn = sampling._drawn(rows, 20_000)
    chosen = np.asarray(drawn.inputs, int)
    np.testing.assert_allclose(
        step_weights.of_rows(np.asarray(drawn.weights)), np.mean(rows.weights), rtol=1e-5
    )
    np.testing.assert_allclose(
        np.mean(np.asarray(drawn.weights) * values[chosen]), exact, rtol=0.02
    )


@pytest.mark.parametrize("size", [200, 20_000])
def test_a_sample_that_leaves_nothing_out_has_the_mean(size):
    rows, values, exact = _weighted_rows(copies=1)
    drawn = sampling._drawn(rows, size)
    chosen = np.asarray(drawn.inputs, int)
    np.testing.assert_array_equal(chosen, np.arange(200))
    np.testing.assert_allclose(
        np.mean(np.asarray(drawn.weights) * values[chosen]), exact, rtol=1e-6
    )


@pytest.mark.slow
def test_curvature_of_a_sample_in_memory_and_streamed():
    random = np.random.default_rng(0)
    x = random.normal(size=(1500, 4, 2))
    y = np.tanh(x @ random.normal(size=(2, 3)))
    weights = random.random((1500, 4)) * random.integers(0, 2, (1500, 4))
    solver = LevenbergMarquardt(curvature_sample=1)
    options = {"epochs": 30, "solver": solver, "verbose": 0}
    batches = [(x[:900], y[:900], weights[:900]), (x[900:], y[900:], weights[900:])]
    for result in (
        lmjax.fit(network, START, x, y, sample_weight=weights, **options),
        lmjax.fit(network, START, batches, **options),
    ):
        assert result.history["loss"][-1] < 0.01 * result.history["loss"][0]
        assert result.history["loss"][-1] == pytest.approx(
            mean_loss(result.params, x, y, weights), rel=1e-10
        )


@pytest.mark.parametrize(
    ("given", "expected"),
    [((7,), (7,)), ((7, 1), (7,)), ((7, 1, 1), (7,)), ((7, 5), (7, 5)), ((7, 5, 1), (7, 5))],
)
def test_shapes_that_are_taken(given, expected):
    weights = np.arange(float(np.prod(given))).reshape(given)
    spread = step_weights.spread(weights, (7, 5), "sample_weight")
    assert spread.shape == expected
    np.testing.assert_array_equal(spread.ravel(), weights.ravel())


def test_leading_axes_count_for_all_behind_them():
    image = step_weights.spread(np.arange(6.0).reshape(2, 3), (2, 3, 4), "sample_weight")
    np.testing.assert_array_equal(image, np.arange(6.0).reshape(2, 3, 1).repeat(4, axis=2))


@pytest.mark.parametrize("given", [(), (6,), (7, 4), (5, 7), (7, 5, 2), (1, 5), (7, 5, 1, 1)])
def test_other_shapes_are_named(given):
    with pytest.raises(
        ValueError,
        match=r"sample_weight: expected one weight for each of the 7 rows, shape \(7,\), or for "
        r"each step, shape",
    ):
        lmjax.fit(network, START, X, CASES["mse"][2], sample_weight=np.ones(given), verbose=0)


@pytest.mark.slow
def test_a_loss_of_ones_own_takes_weights_of_rows():
    class Own:
        takes_quantities = True
        target_shape, prepare = MeanSquaredError.target_shape, MeanSquaredError.prepare
        value, root_product, pseudo_residuals = (
            MeanSquaredError.value,
            MeanSquaredError.root_product,
            MeanSquaredError.pseudo_residuals,
        )

    with pytest.raises(ValueError, match=r"shape \(7,\), got \(7, 5\)"):
        lmjax.fit(network, START, X, CASES["mse"][2], loss=Own(), sample_weight=WEIGHTS, verbose=0)
    rows = WEIGHTS.mean(axis=1)
    ours = lmjax.fit(
        network, START, X, CASES["mse"][2], loss=Own(), sample_weight=rows, epochs=2, verbose=0
    )
    assert (
        ours.history["loss"]
        == lmjax.fit(
            network, START, X, CASES["mse"][2], sample_weight=rows, epochs=2, verbose=0
        ).history["loss"]
    )
