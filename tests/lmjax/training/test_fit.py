"""``lmjax.fit`` as a user calls it."""

import dataclasses
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import Status
from lmjax._src.levenberg_marquardt.damping import DampingState
from lmjax._src.training.following import progress
from tests.rounding import of_mean_square

X = np.linspace(-1, 1, 40)[:, None]
Y = np.sin(3 * X)


def model_fn(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def start(dtype=np.float64, seed=0):
    generator = np.random.default_rng(seed)
    params = {
        "w": generator.normal(size=(1, 8)),
        "b": generator.normal(size=8),
        "v": generator.normal(size=(8, 1)),
    }
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_history_and_params(dtype):
    result = lmjax.fit(
        model_fn, start(dtype), X, Y, epochs=30, validation_data=(X[::3], Y[::3]), verbose=0
    )
    losses = result.history["loss"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < (1e-5 if dtype == np.float64 else 1e-4)
    assert len(result.history["val_loss"]) == len(result.history["seconds"]) == len(losses) <= 30
    assert result.history["seconds"] == sorted(result.history["seconds"])
    assert {np.asarray(leaf).dtype for leaf in jax.tree.leaves(result.params)} == {np.dtype(dtype)}
    with jax.enable_x64(dtype == np.float64):
        predicted = np.asarray(model_fn(result.params, X.astype(dtype)))
    # Ten terms a residual: eight units, the target and the rounding of the tanh in them.
    magnitude = float(np.sum(np.abs(result.params["v"])) + np.max(np.abs(Y)))
    rounding = of_mean_square(losses[-1], magnitude, 10, dtype)
    assert losses[-1] == pytest.approx(np.mean((predicted - Y) ** 2), abs=rounding)
    assert result.loss_at(result.params) == pytest.approx(losses[-1], abs=rounding)


@pytest.mark.parametrize("size", [1e3, 1e6, 3e9])
def test_inputs_of_any_size_are_fitted_to_the_end(size):
    """The loss at the start is beyond a float32's digits of what is left when the weights are small
    beside the start's.
    """
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    y = (x @ [[1], [-0.5], [0]] + 0.1).astype("float32")
    params = {"kernel": np.ones((3, 1), "float32"), "bias": np.zeros(1, "float32")}
    result = lmjax.fit(
        lambda p, x: x @ p["kernel"] + p["bias"], params, x * np.float32(size), y, verbose=0
    )
    # Of four terms of the size of one; a matrix of condition below two, so that errors are those of
    # its residuals.
    rounding = 2 * 4 * float(np.finfo("float32").eps)
    np.testing.assert_allclose(
        result.params["kernel"] * size, [[1], [-0.5], [0]], atol=2 * rounding
    )
    np.testing.assert_allclose(result.params["bias"], [0.1], atol=2 * rounding)
    assert result.status.success


@pytest.mark.slow
def test_weights_are_repetitions():
    weights = np.where(np.arange(40) % 2 == 0, 2.0, 1.0)
    weighted = lmjax.fit(model_fn, start(), X, Y, sample_weight=weights, epochs=5, verbose=0)
    rows = np.repeat(np.arange(40), weights.astype(int))
    repeated = lmjax.fit(model_fn, start(), X[rows], Y[rows], epochs=5, verbose=0)
    np.testing.assert_allclose(
        np.array(weighted.history["loss"]) / np.mean(weights), repeated.history["loss"], rtol=1e-7
    )


@pytest.mark.slow
def test_l2_is_part_of_the_loss():
    plain = lmjax.fit(model_fn, start(), X, Y, epochs=1, verbose=0)
    l2 = {"w": 0.01, "b": 0.0, "v": 0.1}
    result = lmjax.fit(model_fn, start(), X, Y, l2=l2, epochs=60, verbose=0)
    with jax.enable_x64(True):
        mse = np.mean((np.asarray(model_fn(result.params, X)) - Y) ** 2)
    penalty = 0.01 * np.sum(result.params["w"] ** 2) + 0.1 * np.sum(result.params["v"] ** 2)
    assert result.history["loss"][-1] == pytest.approx(mse + penalty, rel=1e-10)
    with jax.enable_x64(True):
        gradient = jax.grad(
            lambda p: (
                jnp.mean((model_fn(p, X) - Y) ** 2)
                + 0.01 * jnp.sum(p["w"] ** 2)
                + 0.1 * jnp.sum(p["v"] ** 2)
            )
        )(result.params)
        assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(gradient)) < 1e-3
    assert plain.history["loss"]


@dataclasses.dataclass(frozen=True)
class FromATenth(lmjax.Nielsen):
    """Begins at λ = 0.1 wherever it is, since diag(JᵀJ), from which it is taken else, is averaged
    over arrays.
    """

    def init(self, gauss_newton_diagonal, scaling):
        return jax.tree.map(
            lambda number: jnp.asarray(number, scaling.dtype), DampingState(0.1, 2.0)
        )


@dataclasses.dataclass(frozen=True)
class RadiusOfOne(lmjax.TrustRegion):
    def init(self, gauss_newton_diagonal, scaling):
        return jax.tree.map(
            lambda number: jnp.asarray(number, scaling.dtype), DampingState(0.1, 1.0)
        )


@pytest.mark.slow
@pytest.mark.parametrize("l2", [None, {"w": 0.01, "b": 0.0, "v": 0.1}])
@pytest.mark.parametrize(
    ("damping", "batch_size"),
    [(FromATenth(), None), (RadiusOfOne(slack=1e-9), None), (FromATenth(), 5)],
)
def test_more_parameters_than_rows_is_the_same_fit_by_arrays(damping, batch_size, l2):
    """The dual form from the layers, whose params are lists of arrays, against the normal
    equations.
    """
    options = {"damping": damping, "scaling": lmjax.IdentityScaling()}
    few = slice(0, 40, 4)

    def fit(**solver):
        chosen = lmjax.LevenbergMarquardt(**options, **solver)
        data = {
            "validation_data": (X, Y),
            "l2": l2,
            "batch_size": batch_size,
            "epochs": 6,
            "verbose": 0,
        }
        return lmjax.fit(model_fn, start(), X[few], Y[few], solver=chosen, **data)

    dual, normal = fit(), fit(linear_solver=lmjax.Cholesky())
    assert dual.linear_solver == ("Auto" if batch_size else "DualCholesky")
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(dual.history[name], normal.history[name], rtol=1e-6)
    for one, other in zip(
        jax.tree.leaves(dual.params), jax.tree.leaves(normal.params), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    best = dual.best_epoch
    reached = dual.start["loss"] if best is None else dual.history["loss"][best]
    assert dual.loss_at(dual.params) == pytest.approx(reached, rel=1e-9)


@pytest.mark.slow
def test_classification_in_both_forms_is_the_same_fit():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2))
    classes = (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(int) + (x[:, 1] > 1)

    def classifier(params, x):
        return jax.nn.softmax(jnp.tanh(x @ params["w"]) @ params["v"])

    params = {"w": generator.normal(size=(2, 5)), "v": generator.normal(size=(5, 3))}
    sparse = lmjax.fit(
        classifier, params, x, classes, loss="sparse_categorical_crossentropy", epochs=20, verbose=0
    )
    dense = lmjax.fit(
        classifier,
        params,
        x,
        np.eye(3)[classes],
        loss="categorical_crossentropy",
        epochs=20,
        verbose=0,
    )
    np.testing.assert_allclose(sparse.history["loss"], dense.history["loss"], rtol=1e-9)
    assert sparse.history["loss"][-1] < 0.3 * sparse.loss_at(params)


def test_targets_never_broadcast():
    flat = lmjax.fit(model_fn, start(), X, Y[:, 0], epochs=3, verbose=0)
    column = lmjax.fit(model_fn, start(), X, Y, epochs=3, verbose=0)
    assert flat.history["loss"] == column.history["loss"]


def test_a_second_call_compiles_nothing(caplog):
    lmjax.fit(model_fn, start(), X, Y, epochs=4, verbose=0)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        lmjax.fit(model_fn, start(seed=1), 2 * X, Y**2, epochs=7, verbose=0)
    assert "Compiling" not in caplog.text


def test_a_callable_pytree_is_data(caplog):
    frozen = jax.tree_util.Partial(_scaled, jnp.float32(2.0))
    lmjax.fit(frozen, start(np.float32), X, Y, epochs=3, verbose=0)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        lmjax.fit(
            jax.tree_util.Partial(_scaled, jnp.float32(3.0)),
            start(np.float32),
            X,
            Y,
            epochs=3,
            verbose=0,
        )
    assert "Compiling" not in caplog.text


def _scaled(scale, params, x):
    return scale * model_fn(params, x)


def test_inputs_may_be_a_pytree_and_integers():
    table = np.random.default_rng(0).normal(size=(5, 2))
    tokens, scale = np.arange(20) % 5, np.linspace(1, 2, 20)
    result = lmjax.fit(
        lambda p, x: p["table"][x["token"]] * x["scale"][:, None],
        {"table": np.zeros((5, 2))},
        {"token": tokens, "scale": scale},
        table[tokens] * scale[:, None],
        verbose=0,
    )
    np.testing.assert_allclose(result.params["table"], table, rtol=1e-9)


def test_converges_and_says_so():
    result = lmjax.fit(lambda p, x: x @ p, np.zeros((1, 1)), X, 2 * X, epochs=50, verbose=0)
    assert result.status.success
    assert len(result.history["loss"]) < 50
    assert lmjax.fit(model_fn, start(), X, Y, epochs=2, verbose=0).status is Status.MAX_STEPS


def test_interrupted(monkeypatch):
    from lmjax._src.runtime import slices as driving

    def interrupting(*args, **options):
        for count, item in enumerate(driving.slices(*args, **options)):
            yield item
            if count == 1:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("lmjax._src.training.epochs.epochs.slices", interrupting)
    monkeypatch.setattr(driving, "SLICE_SECONDS", 0.0)
    result = lmjax.fit(model_fn, start(), X, Y, epochs=1000, verbose=0)
    assert result.status is Status.INTERRUPTED
    assert result.history["loss"][-1] < result.history["loss"][0]
    assert result.loss_at(result.params) == pytest.approx(result.history["loss"][-1])


class TestProgress:
    def test_silence_is_asked_for(self, capsys):
        lmjax.fit(model_fn, start(), X, Y, epochs=2, verbose=0)
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("verbose", [1, 2, "auto"])
    def test_a_log_has_the_last_epoch_and_why_it_stopped(self, capsys, verbose):
        result = lmjax.fit(model_fn, start(), X, Y, epochs=30, verbose=verbose)
        first, *lines, last, end = capsys.readouterr().out.splitlines()
        losses = result.history["loss"]
        assert first == f"epoch 1/30  loss {losses[0]:.4g}"
        assert last == f"epoch {len(losses)}/30  loss {losses[-1]:.4g}"
        assert len(lines) == (len(losses) - 2 if verbose == 2 else 0)
        assert end.startswith(result.status.message)
        assert end.endswith(f"those of epoch {len(losses)} (loss {losses[-1]:.4g}).")

    def test_a_bar_in_a_terminal(self, capsys, monkeypatch):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        lmjax.fit(model_fn, start(), X, Y, epochs=2, verbose=1)
        assert "2/2" in capsys.readouterr().out

    @pytest.mark.parametrize("columns", [40, 60, 80])
    def test_one_line_stays_one_line_without_rich(self, capsys, monkeypatch, columns):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(progress, "_make_bar", lambda output: None)
        with progress.Progress(2, 1) as line:
            for epoch in (1, 2):
                line.update(epoch, dict.fromkeys(("loss", "val_loss", "mean_absolute"), 0.1))
        shown = capsys.readouterr().out.rstrip("\n").split("\r")[1:]
        assert [len(text) < columns for text in shown] == [True, True]


class TestWrongInput:
    @pytest.mark.parametrize(
        ("changes", "error", "words"),
        [
            ({"y": Y[:-1]}, ValueError, "x has 40, y has 39"),
            ({"x": X[:0], "y": Y[:0]}, ValueError, "no rows"),
            (
                {"x": np.where(np.arange(40)[:, None] == 7, np.nan, X)},
                ValueError,
                "x: 1 of 40 rows .*row 7",
            ),
            (
                {"y": np.where(np.arange(40)[:, None] == 3, np.inf, Y)},
                ValueError,
                "y: 1 of 40 rows .*row 3",
            ),
            ({"x": np.array([["a"]] * 40)}, TypeError, "x: expected numbers"),
            ({"y": np.array(["a"] * 40)}, TypeError, "y: expected numbers"),
            ({"y": np.zeros((40, 2))}, ValueError, r"y: expected shape \(40, 1\)"),
            ({"y": np.zeros((40, 40))}, ValueError, r"y: expected shape \(40, 1\)"),
            ({"x": 3.0}, ValueError, "x: expected an array"),
            ({"loss": "mad"}, ValueError, "'mad'"),
            (
                {"loss": "sparse_categorical_crossentropy", "y": np.full(40, 2)},
                ValueError,
                "class indices from 0 to 0",
            ),
            ({"loss": "binary_crossentropy", "y": np.full(40, 2)}, ValueError, r"\[0, 1\]"),
            ({"epochs": 0}, ValueError, "epochs"),
            ({"epochs": 1.5}, ValueError, "epochs"),
            ({"verbose": 3}, ValueError, "verbose"),
            ({"sample_weight": np.ones(39)}, ValueError, "sample_weight"),
            ({"sample_weight": -np.ones(40)}, ValueError, "at least 0"),
            ({"sample_weight": np.zeros(40)}, ValueError, "all weights are zero"),
            ({"validation_data": X}, ValueError, "validation_data"),
            ({"validation_data": (X, Y[:-1])}, ValueError, "validation"),
            ({"model_fn": lambda p, x: jnp.sum(x)}, ValueError, "one row"),
            ({"model_fn": lambda p, x: (x, x)}, ValueError, "one array"),
            ({"model_fn": "text"}, TypeError, "model_fn"),
        ],
    )
    def test_is_named(self, changes, error, words):
        arguments = {
            "model_fn": model_fn,
            "params": start(),
            "x": X,
            "y": Y,
            "verbose": 0,
        } | changes
        with pytest.raises(error, match=words):
            lmjax.fit(**arguments)

    def test_a_non_finite_start_changes_nothing(self):
        params = start() | {"v": np.full((8, 1), np.nan)}
        result = lmjax.fit(model_fn, params, X, Y, verbose=0)
        assert result.status is Status.NON_FINITE_START
        np.testing.assert_array_equal(result.params["w"], params["w"])


@pytest.mark.parametrize(
    "model_fn",
    [lambda p, x: np.tanh(x @ p), lambda p, x: x @ p if p[0, 0] > 0 else x],
    ids=["numpy", "if"],
)
def test_a_model_that_jax_cannot_trace_is_told_how_to_be_written(model_fn):
    with pytest.raises(
        TypeError, match=r"^model_fn: JAX cannot trace test_fit.py, line \d+, .*jax\.numpy"
    ) as told:
        lmjax.fit(model_fn, np.ones((2, 1)), np.ones((5, 2)), np.ones((5, 1)), verbose=0)
    assert "jac=" not in str(told.value)
