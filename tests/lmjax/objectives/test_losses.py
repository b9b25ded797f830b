"""The curvature of each loss against slow oracles."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
    find_loss,
)

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(4,))
ONE_HOT = np.eye(4)[2]


def root_matrix(loss, outputs, targets):
    """S, column by column."""
    basis = jnp.eye(outputs.size).reshape(outputs.size, *outputs.shape)
    return jax.vmap(lambda unit: loss.root_product(outputs, targets, unit).ravel(), out_axes=1)(
        basis
    )


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (MeanSquaredError(), GENERATOR.normal(size=4)),
        (BinaryCrossentropy(from_logits=True), np.array([0.0, 1.0, 1.0, 0.3])),
        (CategoricalCrossentropy(from_logits=True), ONE_HOT),
        (CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), ONE_HOT),
        (SparseCategoricalCrossentropy(from_logits=True), np.array(2)),
    ],
    ids=str,
)
def test_square_root_of_the_exact_hessian(loss, targets):
    """In the logits the Fisher information is the Hessian."""
    with jax.enable_x64(True):
        outputs = jnp.asarray(LOGITS)
        root = root_matrix(loss, outputs, jnp.asarray(targets))
        hessian = jax.hessian(lambda z: loss.value(z, jnp.asarray(targets)))(outputs)
        np.testing.assert_allclose(root @ root.T, hessian, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "link", "targets"),
    [
        (BinaryCrossentropy, jax.nn.sigmoid, np.array([0.0, 1.0, 1.0, 0.3])),
        (CategoricalCrossentropy, jax.nn.softmax, ONE_HOT),
        (SparseCategoricalCrossentropy, jax.nn.softmax, np.array(2)),
        (CategoricalCrossentropy, lambda z: 3 * jax.nn.softmax(z), ONE_HOT),
    ],
)
def test_probabilities_and_logits_give_the_same_curvature_and_value(make, link, targets):
    """The rows through the link function are those of the loss on logits; Keras normalises outputs
    that do not sum to one.
    """
    with jax.enable_x64(True):
        logits, targets = jnp.asarray(LOGITS), jnp.asarray(targets)
        jacobian = jax.jacfwd(link)(logits)
        through_link = root_matrix(make(), link(logits), targets).T @ jacobian
        on_logits = root_matrix(make(from_logits=True), logits, targets)
        np.testing.assert_allclose(
            through_link.T @ through_link, on_logits @ on_logits.T, atol=1e-12
        )
        np.testing.assert_allclose(
            make().value(link(logits), targets),
            make(from_logits=True).value(logits, targets),
            rtol=1e-6,
        )


def test_axes_before_the_classes_are_averaged():
    with jax.enable_x64(True):
        outputs, targets = (
            jax.nn.softmax(jnp.asarray(GENERATOR.normal(size=(3, 4)))),
            jnp.asarray(np.eye(4)[[0, 1, 2]]),
        )
        loss = CategoricalCrossentropy()
        each = [loss.value(outputs[k], targets[k]) for k in range(3)]
        np.testing.assert_allclose(loss.value(outputs, targets), np.mean(each), rtol=1e-12)
        whole = root_matrix(loss, outputs, targets)
        block = root_matrix(loss, outputs[1], targets[1])
        np.testing.assert_allclose((whole @ whole.T)[4:8, 4:8], block @ block.T / 3, rtol=1e-9)


def test_saturated_probabilities_stay_finite():
    for loss, targets in (
        (BinaryCrossentropy(), jnp.array([1.0, 0.0])),
        (CategoricalCrossentropy(), jnp.array([1.0, 0.0])),
    ):
        outputs = jnp.array([0.0, 1.0])
        assert np.isfinite(loss.value(outputs, targets))
        assert np.isfinite(root_matrix(loss, outputs, targets)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("spread", [1.0, 40.0, 400.0])
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("kind", ["binary", "categorical", "sparse"])
def test_pseudo_residuals_give_the_gradient_back(kind, from_logits, spread, smoothing, dtype):
    """S r = ∇value, also where the model is certain, rightly or wrongly, and nothing overflows."""
    with jax.enable_x64(True):
        outputs = jnp.asarray(spread * GENERATOR.normal(size=(3, 4)), dtype)
        if kind == "binary":
            loss, targets, link = (
                BinaryCrossentropy(from_logits, smoothing),
                jnp.asarray(np.eye(4)[[0, 1, 2]], dtype),
                jax.nn.sigmoid,
            )
        elif kind == "categorical":
            loss, targets, link = (
                CategoricalCrossentropy(from_logits, smoothing),
                jnp.asarray(np.eye(4)[[0, 1, 2]], dtype),
                jax.nn.softmax,
            )
        else:
            loss, targets, link = (
                SparseCategoricalCrossentropy(from_logits),
                jnp.array([0, 1, 2]),
                jax.nn.softmax,
            )
        outputs = outputs if from_logits else link(outputs)
        residuals = loss.pseudo_residuals(outputs, targets)
        assert residuals.shape == outputs.shape
        assert residuals.dtype == outputs.dtype
        assert np.isfinite(residuals).all()
        gradient = jax.grad(loss.value)(outputs, targets)
        back = loss.root_product(outputs, targets, residuals)
        np.testing.assert_allclose(
            back, gradient, rtol=0, atol=20 * np.finfo(dtype).eps * max(1, np.abs(gradient).max())
        )


@pytest.mark.parametrize("loss", ["mad", "dice", "", object()])
def test_an_unknown_loss_is_named(loss):
    with pytest.raises(ValueError, match="loss"):
        find_loss(loss)


@pytest.mark.parametrize("shift", [0.2, 100.0])
def test_negative_losses_are_named_and_no_success(shift):
    """The cost is what steps, tolerances and rounding are measured by."""

    @dataclasses.dataclass(frozen=True)
    class Shifted(MeanSquaredError):  # noqa: N818 - as its base
        def value(self, outputs, targets):
            return super().value(outputs, targets) - shift

    x = np.linspace(-1, 1, 20)[:, None]
    result = lmjax.fit(
        lambda p, x: p[0] * x + p[1], np.zeros(2), x, 1.5 * x, loss=Shifted(), epochs=20, verbose=0
    )
    assert result.status is lmjax.Status.NEGATIVE
    assert not result.status.success
