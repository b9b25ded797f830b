"""Mini-batches: fits with batch_size, and steps in a loop of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import Status
from lmjax._src.arrays.structure import Structure
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.epochs.batch_step import initial_batch_state
from lmjax._src.training.epochs.minibatch import BATCH_SOLVER, one_batch
from lmjax.losses import MeanSquaredError

N = 203
X = np.random.default_rng(0).uniform(-1, 1, size=(N, 2))
Y = np.sin(3 * X[:, :1]) * X[:, 1:]


def model_fn(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def start(hidden=12, dtype=np.float64):
    generator = np.random.default_rng(0)
    params = {
        "w": generator.normal(size=(2, hidden)),
        "b": generator.normal(size=hidden),
        "v": generator.normal(size=(hidden, 1)),
    }
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


def mse(params, x=X, y=Y):
    with jax.enable_x64(True):
        return float(np.mean((np.asarray(model_fn(params, x)) - y) ** 2))


@pytest.mark.parametrize("batch_size", [20, 64], ids=["dual", "primal"])
def test_batches_lower_the_loss(batch_size):
    before = mse(start())
    result = lmjax.fit(
        model_fn,
        start(),
        X,
        Y,
        batch_size=batch_size,
        epochs=15,
        validation_data=(X[:9], Y[:9]),
        verbose=0,
    )
    assert len(result.history["loss"]) == len(result.history["val_loss"]) == 15
    assert min(result.history["loss"]) < 0.05 * before
    assert result.best_epoch == int(np.argmin(result.history["val_loss"]))
    assert mse(result.params) == pytest.approx(result.history["loss"][result.best_epoch], rel=1e-9)
    assert result.status is Status.MAX_STEPS


@pytest.mark.parametrize("batch_size", [20, 64], ids=["dual", "primal"])
def test_the_radius_of_a_trust_region_follows_the_batches(batch_size):
    solver = lmjax.LevenbergMarquardt(damping=lmjax.TrustRegion(), scaling=lmjax.IdentityScaling())
    objective = SupervisedObjective(
        Rows(X[:batch_size], Y[:batch_size], None),
        jax.tree_util.Partial(model_fn),
        None,
        MeanSquaredError(),
        Structure.of(start()),
    )
    with jax.enable_x64(True):
        params = jnp.asarray(Structure.of(start()).flatten_concrete(start(), np.dtype(float)))
        state, radii, losses = initial_batch_state(params), [], []
        for momentum in 6 * (0.0,) + 3 * (0.5,):
            before = params
            params, state, loss = one_batch(solver, momentum, objective, params, state)
            losses.append(float(loss))
            radii.append(float(state.damping.carried))
            if not momentum:  # the radius is halved after a poor gain, and met to within the slack
                assert float(jnp.linalg.norm(params - before)) <= 2.2 * radii[-1]
    assert losses[-1] < 0.5 * losses[0]
    assert sorted(losses, reverse=True) == losses
    assert len(set(radii)) > 1


def test_equal_seeds_give_equal_fits():
    histories = [
        lmjax.fit(model_fn, start(), X, Y, batch_size=20, epochs=3, seed=seed, verbose=0).history[
            "loss"
        ]
        for seed in (1, 1, 2)
    ]
    assert histories[0] == histories[1] != histories[2]


def test_a_second_fit_compiles_nothing(caplog):
    lmjax.fit(model_fn, start(), X, Y, batch_size=20, epochs=2, verbose=0)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        lmjax.fit(model_fn, start(), X + 1, Y, batch_size=20, epochs=4, seed=3, verbose=0)
    assert "Compiling" not in caplog.text


@pytest.mark.slow
def test_a_fit_is_never_worse_than_its_start():
    """From the optimum of noisy data every step on a batch leads away."""
    noisy = Y + np.random.default_rng(1).normal(size=Y.shape)
    best = lmjax.fit(model_fn, start(), X, noisy, epochs=60, verbose=0).params
    loose = lmjax.LevenbergMarquardt(
        scaling=lmjax.IdentityScaling(), damping=lmjax.Nielsen(initial=1e-6)
    )
    result = lmjax.fit(model_fn, best, X, noisy, batch_size=20, epochs=2, solver=loose, verbose=0)
    assert min(result.history["loss"]) > mse(best, y=noisy)
    for ours, theirs in zip(jax.tree.leaves(result.params), jax.tree.leaves(best), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [4, 12], ids=["primal", "dual"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_is_the_proximal_point_of_the_dense_oracle(hidden, weighted):
    """s minimises ½ sᵀ(JᵀJ + R)s + gᵀs + ½λ‖s - μ s₋‖², everything written out."""
    with jax.enable_x64(True):
        params, momentum, rows = start(hidden), 0.7, 24
        structure = Structure.of(params)
        flat = jnp.asarray(structure.flatten_concrete(params, np.float64))
        generator = np.random.default_rng(2)
        weights = jnp.asarray(generator.uniform(0.5, 2, rows)) if weighted else None
        l2 = jnp.full(flat.size, 0.03)
        batch = Rows(jnp.asarray(X[:rows]), jnp.asarray(Y[:rows]), weights)
        objective = SupervisedObjective(
            batch, jax.tree_util.Partial(model_fn), Penalty(l2), MeanSquaredError(), structure
        )
        last = jnp.asarray(generator.normal(size=flat.size)) * 1e-3
        state = initial_batch_state(flat)._replace(change=last)
        new, after, loss = one_batch(BATCH_SOLVER, momentum, objective, flat, state)

        scale = jnp.sqrt(2 * (jnp.ones(rows) if weights is None else weights) / rows)
        residuals = lambda p: (  # noqa: E731
            scale * (model_fn(structure.unflatten(p), batch.inputs) - batch.targets)[:, 0]
        )
        J, r = jax.jacfwd(residuals)(flat), residuals(flat)
        M, g = J.T @ J + 2 * jnp.diag(l2), J.T @ r + 2 * l2 * flat
        damping = 1e-2 * jnp.max(jnp.diagonal(M))
        expected = jnp.linalg.solve(M + damping * jnp.eye(flat.size), damping * momentum * last - g)
        np.testing.assert_allclose(new - flat, expected, rtol=1e-6, atol=1e-10)
        assert loss == pytest.approx(float(0.5 * r @ r + jnp.sum(l2 * flat**2)), rel=1e-12)
        assert int(after.num_accepted) == 1


def test_streams_in_batches(tmp_path):
    np.save(tmp_path / "x.npy", X)
    streamed = lmjax.fit(
        model_fn,
        start(),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        Y,
        batch_size=50,
        epochs=8,
        verbose=0,
    )
    assert min(streamed.history["loss"]) < 0.1 * mse(start())
    assert mse(streamed.params) == pytest.approx(min(streamed.history["loss"]), rel=1e-9)
    trainer = lmjax.Trainer(model_fn, start())
    for first in range(0, N, 50):
        trainer.step(X[first : first + 50], Y[first : first + 50])
    assert mse(trainer.params) == pytest.approx(streamed.history["loss"][0], rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_trainer(dtype, caplog):
    trainer = lmjax.Trainer(model_fn, start(dtype=dtype), momentum=0.3)
    losses = []
    for epoch in range(8):
        for first in range(0, N, 50):  # the last one is smaller
            batch = (
                X[first : first + 50],
                Y[first : first + 50],
                np.ones(len(X[first : first + 50])),
            )
            if epoch == 1 and first == 0:
                with jax.log_compiles(), caplog.at_level("WARNING"):
                    losses.append(trainer.step(*batch))
            else:
                losses.append(trainer.step(*batch))
    assert "Compiling" not in caplog.text
    assert np.mean(losses[-5:]) < 0.1 * losses[0]
    assert trainer.num_accepted > 0
    assert np.asarray(trainer.params["w"]).dtype == dtype
    with pytest.raises(ValueError, match="no rows"):
        trainer.step(X[:0], Y[:0])
    with pytest.raises(ValueError, match="x: 1 of 5 rows"):
        trainer.step(np.where(np.arange(5)[:, None] == 1, np.nan, X[:5]), Y[:5])


def test_a_batch_that_no_memory_holds_leaves_smaller_ones_as_they_are(monkeypatch):
    trainer, sizes = lmjax.Trainer(model_fn, start()), []

    def limited(solver, momentum, batch, *carry):
        sizes.append(len(batch.rows.targets))
        if sizes[-1] > 50:
            raise MemoryError
        return one_batch(solver, momentum, batch, *carry)

    monkeypatch.setattr("lmjax._src.training.trainer.one_batch", limited)
    with pytest.raises(MemoryError):
        trainer.step(X, Y)
    trainer.step(X[:50], Y[:50])
    assert sizes == [N, 50]


def test_a_trust_region_has_effect_on_batches():
    results = [
        lmjax.fit(
            model_fn,
            start(),
            X,
            Y,
            batch_size=50,
            epochs=2,
            verbose=0,
            solver=lmjax.LevenbergMarquardt(damping=damping, scaling=lmjax.IdentityScaling()),
        )
        for damping in (lmjax.Nielsen(), lmjax.TrustRegion(), lmjax.TrustRegion(initial=1.0))
    ]
    assert len({min(result.history["loss"]) for result in results}) == 3
    assert all(min(result.history["loss"]) < mse(start()) for result in results)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"batch_size": 5, "seed": -1}, "seed"),
        ({"batch_size": True}, "batch_size"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        lmjax.fit(model_fn, start(), X, Y, verbose=0, **options)
    with pytest.raises(ValueError, match="momentum"):
        lmjax.Trainer(model_fn, start(), momentum=1)


def test_a_start_that_is_not_finite_stays(tmp_path):
    params = start() | {"v": np.full((12, 1), np.nan)}
    result = lmjax.fit(model_fn, params, X, Y, batch_size=20, verbose=0)
    assert result.status is Status.NON_FINITE_START
    np.testing.assert_array_equal(result.params["w"], params["w"])
