"""What holds for every loss and its options: the gradient by S r, values of at least 0, majorizers
above the loss, and weights.
"""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmjax
from lmjax import losses
from lmjax._src.objectives.losses.named import LOSSES
from lmjax._src.objectives.losses.offset import sum_of_offsets
from lmjax._src.objectives.losses.over_all import OverAll

#: Of losses that options change; each is tried with its defaults, too.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "Huber": [{"delta": 0.3}],
    "BinaryCrossentropy": [{"from_logits": True, "label_smoothing": 0.2}],
    "CategoricalCrossentropy": [{"from_logits": True}, {"label_smoothing": 0.2}],
    "SparseCategoricalCrossentropy": [{"ignore_class": 1, "from_logits": True}],
    "BinaryFocalCrossentropy": [
        {"from_logits": True, "gamma": 0.5, "apply_class_balancing": True},
        {"label_smoothing": 0.1, "gamma": 3.0},
    ],
    "CategoricalFocalCrossentropy": [
        {"from_logits": True, "alpha": 0.6, "gamma": 0.5},
        {"label_smoothing": 0.1, "gamma": 0.0},
    ],
}
KINDS = dict.fromkeys(type(loss) for loss in LOSSES.values())
CASES = [
    *(kind(**options) for kind in KINDS for options in ({}, *OPTIONS.get(kind.__name__, []))),
    losses.Residuals(lambda y, z: (z - y)[:1] * z[1:]),
    losses.Residuals(lambda y, z: jnp.concatenate([z - y, jnp.sin(z)])),
    losses.Convex(lambda y, z: jnp.sum(jnp.logaddexp(z - y, y - z))),
    losses.Convex(lambda y, z: jnp.sum(jnp.abs(z - y))),
]
#: Of (2, 3) outputs.
MAJORIZED = [
    losses.MeanAbsoluteError(),
    losses.MeanAbsolutePercentageError(),
    losses.Huber(0.7),
    losses.LogCosh(),
    losses.Hinge(),
]


def drawn(loss: Any, random: Any, shape: tuple[int, ...], spread: float) -> tuple[Any, Any]:
    """Outputs and targets that the loss is defined for."""
    name, z = type(loss).__name__, random.normal(scale=spread, size=shape)
    y = random.normal(scale=spread, size=shape)
    if name in ("Poisson", "MeanSquaredLogarithmicError"):
        return np.exp(z / spread), random.poisson(2, shape).astype(float)
    if "Hinge" in name and "Cat" not in name:
        return z, np.where(y > 0, 1.0, 0.0)
    if name.startswith("Sparse"):
        y = random.integers(0, shape[-1], shape[:-1])
    elif "Categorical" in name:
        y = np.eye(shape[-1])[random.integers(0, shape[-1], shape[:-1])]
    elif "Crossentropy" in name or name == "KLDivergence":
        y = random.uniform(0, 1, shape)
    if not getattr(loss, "from_logits", True):
        z = 1 / (1 + np.exp(-z)) if "Binary" in name else np.exp(z - z.max(-1, keepdims=True))
    if name == "KLDivergence":
        z = 1 / (1 + np.exp(-z))
    return z, y


def cast(loss: Any, z: Any, y: Any, dtype: str) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(z, dtype), jnp.asarray(y, dtype if loss.takes_quantities else None)


def label(loss: Any) -> str:
    """Without the address of a function."""
    return re.sub(r"<function .*? at \w+>", "function", str(loss))


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@pytest.mark.parametrize("loss", CASES, ids=label)
def test_the_root_times_the_residuals_is_the_gradient(loss: Any, dtype: str) -> None:
    """Of outputs small and large, and also where the model is certain."""

    def of_sample(z: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
        residuals = loss.pseudo_residuals(z, y)
        back = loss.root_product(z, y, residuals)
        return loss.value(z, y), jax.grad(loss.value)(z, y), back, residuals

    random = np.random.default_rng(0)
    parts = [drawn(loss, random, (30, 2, 3), spread) for spread in (0.1, 1.0, 30.0)]
    with jax.enable_x64(True):
        z, y = cast(loss, *(np.concatenate(part) for part in zip(*parts, strict=True)), dtype)
        values, gradients, back, residuals = jax.jit(jax.vmap(of_sample))(z, y)
    assert (np.asarray(values) >= 0).all()
    assert residuals.shape == z.shape
    assert residuals.dtype == back.dtype == z.dtype
    assert np.isfinite(residuals).all()
    largest = np.maximum(np.abs(gradients).max(axis=(1, 2), keepdims=True), 1)
    assert (np.abs(back - gradients) <= 40 * np.finfo(dtype).eps * largest).all()


@pytest.mark.parametrize("loss", MAJORIZED, ids=str)
def test_majorizers_lie_above_the_loss_and_touch_it(loss: Any) -> None:
    """Everywhere, not only nearby: a step to their minimum cannot raise the loss."""

    def above(z: jax.Array, other: jax.Array, y: jax.Array) -> jax.Array:
        d = other - z
        gradient = loss.root_product(z, y, loss.pseudo_residuals(z, y))
        (along,) = jax.linear_transpose(lambda u: loss.root_product(z, y, u), z)(d)
        model = loss.value(z, y) + jnp.vdot(gradient, d) + 0.5 * jnp.vdot(along, along)
        return (model - loss.value(other, y)) / (1 + model)

    random = np.random.default_rng(1)
    with jax.enable_x64(True):
        z, y = cast(loss, *drawn(loss, random, (200, 2, 3), 2.0), "float64")
        other = jnp.asarray(random.normal(scale=3.0, size=z.shape))
        assert (np.asarray(jax.jit(jax.vmap(above))(z, other, y)) > -1e-12).all()


@pytest.mark.parametrize(
    ("loss", "axis"),
    [
        (losses.MeanSquaredError(), 1),
        (losses.CategoricalCrossentropy(), -2),
        (losses.CosineSimilarity(), 1),
    ],
    ids=str,
)
def test_another_axis_is_the_same_with_the_axes_exchanged(loss: Any, axis: int) -> None:
    z, y = drawn(loss, np.random.default_rng(0), (4, 3), 1.0)
    along = losses.AlongAxis(loss, axis)
    with jax.enable_x64(True):
        z, y = jnp.asarray(z), jnp.asarray(y)
        np.testing.assert_allclose(along.value(z.T, y.T), loss.value(z, y), rtol=1e-12)
        for ours, theirs in (
            (along.pseudo_residuals(z.T, y.T), loss.pseudo_residuals(z, y)),
            (along.root_product(z.T, y.T, z.T), loss.root_product(z, y, z)),
        ):
            np.testing.assert_allclose(ours, theirs.T, rtol=1e-12)
        assert along.steps((7, 3, 4)) == (4,)
        weights = jnp.arange(4.0)
        np.testing.assert_allclose(
            along.weighted_value(z.T, y.T, weights), loss.weighted_value(z, y, weights), rtol=1e-12
        )
        assert jnp.broadcast_to(along.spread(weights, z.T), z.T.shape)[0, 2] == 2
        if hasattr(loss, "offset"):
            np.testing.assert_allclose(along.offset(y.T), loss.offset(y), rtol=1e-12)


@given(
    st.sampled_from(["sum", "mean_with_sample_weight", "mean", "sum_over_batch_size"]),
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 4)), min_size=1, max_size=12),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.integers(1, 4),
)
def test_weights_that_depend_on_all_rows(
    reduction: str, rows: Any, ignored: int | None, has_weights: bool, size: int
) -> None:
    """Whether they are seen at once or in pieces; a mean over rows with them is what Keras'
    ``reduce_weighted_values`` makes of the losses.
    """
    classes, given = (np.array(column) for column in zip(*rows, strict=True))
    inner = losses.SparseCategoricalCrossentropy(ignore_class=ignored)
    loss: Any = losses.Reduced(inner, reduction)
    parts = [slice(start, start + size) for start in range(0, len(rows), size)]
    over_all = OverAll(loss, collecting=True)

    def weights_of(over_all: OverAll, part: slice) -> Any:
        some = given[part] if has_weights else None
        return over_all.weights(classes[part], some, (len(classes[part]), 4), "sample_weight")

    for part in parts:
        weights_of(over_all, part)
    over_all.collecting = False
    pieces = [weights_of(over_all, part) for part in parts]
    whole = weights_of(OverAll(loss), slice(None))
    plain = given if has_weights else np.ones(len(rows))
    if whole is None:
        assert all(piece is None for piece in pieces)
        whole = np.ones(len(rows))
    else:
        np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=1e-12)
    counted = np.array([ignored is None or c != ignored for c in classes])
    each = np.where(counted, 1.0 + classes, 0.0)
    wanted = float(np.sum(each * plain))
    if reduction == "mean_with_sample_weight":
        wanted /= np.sum(plain * counted) or np.inf
    elif reduction != "sum":
        wanted /= np.sum(counted) or np.inf
    np.testing.assert_allclose(np.mean(each * whole), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.Reduced(losses.Hinge(), "none"), "reduction='none' is not served"),
        (lambda: losses.AlongAxis(losses.Hinge(), 0), "axis=0 is that of the samples"),
        (
            lambda: losses.AlongAxis(losses.SparseCategoricalCrossentropy(), 1),
            "axis=1 is not served by SparseCategoricalCrossentropy",
        ),
        (lambda: losses.Huber(0.0), "delta: expected a positive number, got 0"),
    ],
)
def test_options_that_cannot_be_served_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("hinge", [0.0, -1.0, 1.0], "y: hinge needs labels -1 and 1, or 0 and 1"),
        ("squared_hinge", [0.0, 0.5, 1.0], "y: squared_hinge needs labels"),
        ("poisson", [1.0, -1.0, 1.0], "y: poisson needs counts of at least 0, got -1"),
    ],
)
def test_targets_that_a_loss_is_not_defined_for(loss: str, y: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lmjax.fit(lambda p, x: p + x, np.zeros(1), np.zeros((3, 1)), np.array(y), loss=loss)


class TestOffsets:
    """Losses that may be negative, as they are reported."""

    X = np.linspace(-1, 1, 24)[:, None]
    COUNTS = np.random.default_rng(0).poisson(np.exp(3 + X))

    @staticmethod
    def rate(p: Any, x: Any) -> Any:
        return jnp.exp(p[0] + p[1] * x)

    def reported(self, params: Any) -> float:
        """By Keras' formula."""
        rates = np.exp(params[0] + params[1] * self.X)
        return float(np.mean(rates - self.COUNTS * np.log(rates + 1e-7)))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "way",
        ["whole", *(pytest.param(way, marks=pytest.mark.slow) for way in ("batches", "streamed"))],
    )
    def test_a_fit_reports_the_loss_itself(self, way: str) -> None:
        options: dict[str, Any] = {"batch_size": 8} if way == "batches" else {}
        pieces = [(self.X[:10], self.COUNTS[:10]), (self.X[10:], self.COUNTS[10:])]
        data = (pieces, None) if way == "streamed" else (self.X, self.COUNTS)
        seen: list[float] = []
        result = lmjax.fit(
            self.rate,
            np.array([2.0, 0.0]),
            *data,
            loss="poisson",
            validation_data=(self.X[:5], self.COUNTS[:5]),
            epochs=12,
            callbacks=lambda _, logs: seen.append(logs["loss"]),
            verbose=0,
            **options,
        )
        best = self.reported(result.params)
        assert best < 0
        assert result.best_epoch is not None
        assert result.history["loss"][result.best_epoch] == pytest.approx(best, rel=1e-12)
        assert result.loss_at(result.params) == pytest.approx(best, rel=1e-12)
        assert seen == result.history["loss"]
        assert result.is_gain(result.params)
        assert not result.is_gain(np.array([2.0, 0.0]))
        if way == "whole":
            assert result.status.success
            assert result.params[1] == pytest.approx(1.0, abs=0.1)

    def test_a_trainer_reports_the_loss_itself(self) -> None:
        trainer = lmjax.Trainer(self.rate, np.array([2.0, 0.0]), loss="poisson")
        first = trainer.step(self.X, self.COUNTS)
        assert first == pytest.approx(self.reported([2.0, 0.0]), rel=1e-12)

    @pytest.mark.parametrize("name", ["poisson", "kl_divergence", "cosine_similarity"])
    def test_steps_have_offsets_of_their_own(self, name: str) -> None:
        loss, random = LOSSES[name], np.random.default_rng(3)
        _, y = drawn(loss, random, (5, 4, 3), 1.0)
        weights = random.uniform(size=(5, 4))
        with jax.enable_x64(True):
            each = np.array([[loss.offset(jnp.asarray(step)) for step in row] for row in y])  # type: ignore[attr-defined]
            total = sum_of_offsets(loss, y, weights)
            by_row = sum_of_offsets(loss, y, np.ones(5))
        assert total == pytest.approx(float(np.sum(each * weights) / 4), rel=1e-12)
        assert by_row == pytest.approx(float(each.sum() / 4), rel=1e-12)
