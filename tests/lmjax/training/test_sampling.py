"""Curvature from a sample of the rows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.levenberg_marquardt import step as iteration
from lmjax._src.levenberg_marquardt.state import initial_state
from lmjax._src.objectives import mean_loss
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.sampled import SampledObjective
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import precision
from lmjax._src.training.epochs import sampling
from lmjax._src.training.epochs.sampling import sample_size, with_sample
from lmjax._src.training.fit import FIT_SOLVER
from lmjax._src.training.streaming import stream as streaming
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.training.streaming.sources import ArraySource
from lmjax._src.training.streaming.stream import Stream
from lmjax.losses import MeanSquaredError


def network(params, x):
    return jnp.tanh(x @ params["in"] + params["bias"]) @ params["out"]


def data(rows):
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 2))
    y = np.sin(x[:, :1] + x[:, 1:]) + 0.1 * random.normal(size=(rows, 1))
    params = {
        "bias": np.zeros(4),
        "in": random.normal(size=(2, 4)),
        "out": random.normal(size=(4, 1)),
    }
    return params, x, y


SAMPLING = dataclasses.replace(FIT_SOLVER, curvature_sample=32, linear_solver=lmjax.Cholesky())


class Batches:
    """Rows as a stream that counts its passes."""

    def __init__(self, x, y, size=701):
        self.x, self.y, self.size, self.passes = x, y, size, 0

    def __call__(self):
        self.passes += 1
        for first in range(0, len(self.x), self.size):
            yield self.x[first : first + self.size], self.y[first : first + self.size]


@pytest.fixture(params=["in memory", "streamed"])
def given(request):
    """A function of (x, y) to the data as a fit takes them."""
    return (
        (lambda x, y: (x, y)) if request.param == "in memory" else (lambda x, y: (Batches(x, y),))
    )


@pytest.mark.slow
@pytest.mark.parametrize("chunk_bytes", [2**30, 2**12])
def test_cost_and_gradient_are_of_all_rows_and_the_matrix_of_the_sample(chunk_bytes, monkeypatch):
    monkeypatch.setattr(mean_loss, "CHUNK_BYTES", chunk_bytes)
    params, x, y = data(1500)
    with precision.scope(np.dtype("float64")):
        structure = Structure.of(params)
        rows, flat = Rows(jnp.asarray(x), jnp.asarray(y), None), structure.flatten(params)
        whole = SupervisedObjective(
            rows,
            jax.tree_util.Partial(network),
            Penalty(jnp.linspace(0, 1, 16)),
            MeanSquaredError(),
            structure,
        )
        sampled = with_sample(SAMPLING, whole, flat)
        assert sampled.sample.num_rows == 512
        found, expected = sampled.linearize(flat, Form.NORMAL), whole.linearize(flat, Form.NORMAL)
        np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-12)
        np.testing.assert_allclose(found.gradient, expected.gradient, atol=1e-12)
        np.testing.assert_allclose(found.values.values.losses, expected.values.losses, atol=1e-15)
        kept = {tuple(row) for row in np.asarray(sampled.sample.rows.inputs)}
        assert len(kept & {tuple(row) for row in x}) == 512
        of_sample = sampled.sample.linearize(flat, Form.NORMAL).curvature.matrix
        np.testing.assert_allclose(found.curvature.matrix, of_sample, rtol=1e-12)
        assert np.linalg.norm(of_sample - expected.curvature.matrix) < 0.2 * np.linalg.norm(
            expected.curvature.matrix
        )
        velocity = jnp.linspace(-1, 1, 16)
        second = sampled.curvature_gradient(flat, velocity, Form.NORMAL).rest
        np.testing.assert_allclose(
            second, sampled.sample.curvature_gradient(flat, velocity, Form.NORMAL).rest, rtol=1e-12
        )


def test_rows_are_drawn_by_their_weights():
    """Rows without weight are never drawn, and the sample's loss has the expectation of the whole
    one.
    """
    params, x, y = data(6000)
    weights = np.where(np.arange(6000) % 3, 0, np.arange(6000.0))
    with precision.scope(np.dtype("float64")):
        structure = Structure.of(params)
        flat = structure.flatten(params)
        whole = SupervisedObjective(
            Rows(jnp.asarray(x), jnp.asarray(y), jnp.asarray(weights)),
            jax.tree_util.Partial(network),
            None,
            MeanSquaredError(),
            structure,
        )
        sample = with_sample(SAMPLING, whole, flat).sample
        weighted = {tuple(row) for row, weight in zip(x, weights, strict=True) if weight}
        assert {tuple(row) for row in np.asarray(sample.rows.inputs)} <= weighted
        costs = [part.cost(part.evaluate(flat)) for part in (whole, sample)]
        np.testing.assert_allclose(*costs, rtol=0.15)
        without = dataclasses.replace(whole, rows=whole.rows._replace(weights=jnp.zeros(6000)))
        assert with_sample(SAMPLING, without, flat).sample.num_rows == 512


@pytest.mark.slow
def test_a_sample_of_all_rows_that_count_leaves_them_their_weights():
    """So few have any that none is left out."""
    params, x, y = data(3000)
    weights = np.where(np.arange(3000) % 12, 0, 1 + np.arange(3000.0))
    with precision.scope(np.dtype("float64")):
        structure = Structure.of(params)
        flat = structure.flatten(params)
        whole = SupervisedObjective(
            Rows(jnp.asarray(x), jnp.asarray(y), jnp.asarray(weights)),
            jax.tree_util.Partial(network),
            None,
            MeanSquaredError(),
            structure,
        )
        sample = with_sample(SAMPLING, whole, flat).sample
        assert sample.num_rows == 250
        matrices = [part.linearize(flat, Form.NORMAL).curvature.matrix for part in (whole, sample)]
        np.testing.assert_allclose(*matrices, rtol=1e-10, atol=1e-12 * np.max(matrices[0]))


@pytest.mark.slow
def test_an_accepted_trial_serves_the_next_linearization():
    """Steps that carry what a trial found, and steps that evaluate anew, are the same."""
    params, x, y = data(3000)
    with precision.scope(np.dtype("float64")):
        structure = Structure.of(params)
        flat = structure.flatten(params)
        whole = SupervisedObjective(
            Rows(jnp.asarray(x), jnp.asarray(y), None),
            jax.tree_util.Partial(network),
            None,
            MeanSquaredError(),
            structure,
        )
        sampled = with_sample(SAMPLING, whole, flat)
        carried = anew = (flat, initial_state(flat))
        carried = (flat, carried[1]._replace(known=sampled.evaluate(flat)))
        step = jax.jit(lambda params, state: iteration.step(SAMPLING, sampled, None, params, state))
        for _ in range(8):
            carried, anew = step(*carried), step(*anew)
            np.testing.assert_allclose(carried[0], anew[0], rtol=1e-9)
        np.testing.assert_allclose(
            carried[1].known.gradient, whole.values_and_gradient(carried[0])[1], atol=1e-12
        )
        assert carried[1].num_evaluations < anew[1].num_evaluations


def test_by_itself_only_where_it_pays():
    automatic = lmjax.LevenbergMarquardt(linear_solver=lmjax.Cholesky())
    assert sample_size(automatic, 61, 20_000, 1) == 16 * 61
    assert sample_size(automatic, 80, 20_000, 2) == 8 * 80
    assert sample_size(automatic, 80, 12_000, 1) is None  # more than a tenth
    assert sample_size(automatic, 10, 20_000, 1) is None  # takes no time
    assert sample_size(automatic, 10, 1_000_000, 1) == 512
    assert sample_size(dataclasses.replace(automatic, curvature_sample=None), 61, 20_000, 1) is None


@pytest.mark.slow
def test_ends_where_a_fit_with_all_rows_ends(given):
    params, x, y = data(3000)
    results = [
        lmjax.fit(network, params, *given(x, y), epochs=400, solver=solver, verbose=0)
        for solver in (SAMPLING, FIT_SOLVER)
    ]
    sampled, whole = results
    assert sampled.status.success
    # Only steps with all rows end a fit.
    assert 0 < sampled.sampled_steps < len(sampled.history["loss"])
    assert whole.sampled_steps == 0
    assert (np.diff(sampled.history["loss"]) <= 0).all()
    np.testing.assert_allclose(sampled.history["loss"][-1], whole.history["loss"][-1], rtol=1e-6)


@pytest.mark.slow
def test_rare_inputs_do_not_stop_a_fit(given):
    """A weight whose input is not zero in two rows only, which a sample may lack, is found all the
    same.
    """
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(size=(4000, 2)), np.zeros((4000, 1))], axis=1)
    x[[17, 2500], 2] = 1
    y = x @ np.array([1.0, -2.0, 30.0])
    result = lmjax.fit(
        lambda w, x: x @ w, np.zeros(3), *given(x, y), epochs=100, solver=SAMPLING, verbose=0
    )
    assert result.status.success
    np.testing.assert_allclose(result.params, [1, -2, 30], atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "status"), [(np.inf, lmjax.Status.NON_FINITE_START), (0.0, lmjax.Status.FLAT)]
)
def test_an_epoch_without_a_step_is_not_counted_twice(factor, status, given):
    """Steps with all rows find that there is nothing to do, and their epoch is the one that is
    recorded.
    """
    params, x, y = data(3000)
    params = {name: np.zeros_like(value) for name, value in params.items()} | {
        "out": params["out"] * factor
    }
    result = lmjax.fit(network, params, *given(x, y), epochs=10, solver=SAMPLING, verbose=0)
    assert result.status is status
    assert len(result.history["loss"]) == 1
    assert result.sampled_steps == 0


def test_all_rows_where_a_sample_would_be_most_of_them_or_has_no_matrix():
    assert sample_size(SAMPLING, 20, 2000, 1) == 640
    assert sample_size(SAMPLING, 20, 2000, 2) == 512
    assert sample_size(SAMPLING, 20, 1000, 1) is None
    assert sample_size(dataclasses.replace(SAMPLING, curvature_sample=None), 20, 2000, 1) is None
    assert sample_size(dataclasses.replace(SAMPLING, linear_solver=lmjax.QR()), 20, 2000, 1) is None


def streamed_objective(x, y, weights=None):
    params = data(1)[0]
    stream = Stream(
        ArraySource(x, y, weights),
        jax.tree_util.Partial(network),
        params,
        MeanSquaredError(),
        np.dtype("float64"),
        ("x", "y", "sample_weight"),
    )
    template = SupervisedObjective(
        Rows(x, y, None),
        jax.tree_util.Partial(network),
        None,
        MeanSquaredError(),
        Structure.of(params),
    )
    return StreamedObjective(template, stream), jnp.asarray(Structure.of(params).flatten(params))


def test_streamed_rows_are_drawn_by_their_weights(monkeypatch):
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 32 * 70)  # about seventy rows
    x, y = np.arange(12_000.0).reshape(6000, 2), np.zeros((6000, 1))
    weights = np.where(np.arange(6000) % 3, 0, np.where(np.arange(6000) < 3000, 1.0, 5.0))
    with precision.scope(np.dtype("float64")):
        objective, flat = streamed_objective(x, y, weights)
        sample = objective.drawn(600)
        inputs, _, left = (np.concatenate(parts) for parts in zip(*sample.stream, strict=True))
        drawn = inputs[left > 0, 0] / 2
        assert len(np.unique(drawn)) == len(drawn) == 600
        assert (drawn % 3 == 0).all()
        # A fifth of the heavy rows is drawn, and they get fewer.
        assert np.mean(drawn >= 3000) == pytest.approx(5 / 6, abs=0.08)
        np.testing.assert_allclose(left[left > 0], weights.mean())
        assert objective.drawn(10_000).num_rows == 2000  # all that have weight
        costs = [float(part.cost(part.evaluate(flat))) for part in (objective, sample)]
        np.testing.assert_allclose(*costs, rtol=0.15)


@pytest.mark.slow
def test_a_stream_is_read_once_a_step():
    params, x, y = data(3000)
    read = {}
    for solver in (SAMPLING, dataclasses.replace(SAMPLING, curvature_sample=None)):
        batches = Batches(x, y)
        result = lmjax.fit(network, params, batches, epochs=6, solver=solver, verbose=0)
        read[solver.curvature_sample] = batches.passes
        assert (np.diff(result.history["loss"]) < 0).all()
        assert result.sampled_steps == (6 if solver.curvature_sample else 0)
    assert read[32] <= 3 + 6 + 2  # to check, to draw and at the start; the steps; rejected ones
    assert read[None] >= 1 + 3 * 6


def test_a_sample_of_a_stream_leaves_memory_alone(monkeypatch):
    automatic = dataclasses.replace(SAMPLING, curvature_sample="auto")
    monkeypatch.setattr(sampling, "_LONG", 0)
    with precision.scope(np.dtype("float64")):
        objective, flat = streamed_objective(*data(6000)[1:])
        assert isinstance(with_sample(automatic, objective, flat), SampledObjective)
        monkeypatch.setattr(sampling, "_MOST_BYTES", 1000)
        assert with_sample(automatic, objective, flat) is objective
        assert isinstance(with_sample(SAMPLING, objective, flat), SampledObjective)  # asked for


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "all"])
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(
        ValueError, match="curvature_sample: expected 'auto', None or a whole number"
    ):
        lmjax.LevenbergMarquardt(curvature_sample=wrong)
