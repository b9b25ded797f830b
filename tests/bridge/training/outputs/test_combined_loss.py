"""One loss of several outputs is the weighted sum of theirs, with the curvature of that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge._src.training.outputs.combined_loss import CombinedLoss, Part
from lmjax._src.objectives.losses.step_weights import laid_out
from lmjax._src.runtime.precision import scope
from lmjax.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

ROWS = 2
#: All parts of two rows, of which each is compiled once for each precision.
ROWS_OF_PARTS = [
    (
        Part(MeanSquaredError(), (3, 1), 0.3),
        Part(SparseCategoricalCrossentropy(from_logits=True), (3, 2), 2.5),
        Part(BinaryCrossentropy(from_logits=True), (2,)),
    ),
    (
        Part(MeanSquaredError(), (2,), 0.0),
        Part(CategoricalCrossentropy(from_logits=True), (3,), 0.5),
        Part(MeanSquaredError(), ()),
    ),
]


def drawn(parts, seed):
    """Outputs, targets and weights of steps of some rows, for each part."""
    random = np.random.default_rng(seed)
    outputs = [random.normal(size=(ROWS, *part.shape)) for part in parts]
    targets = [random.random((ROWS, *part.target_shape)) for part in parts]
    for place, part in enumerate(parts):
        if isinstance(part.loss, SparseCategoricalCrossentropy):
            targets[place] = random.integers(0, 2, (ROWS, *part.target_shape))
        if isinstance(part.loss, CategoricalCrossentropy):
            targets[place] /= targets[place].sum(axis=-1, keepdims=True)
    return outputs, targets, [random.random((ROWS, *part.steps)) for part in parts]


def row(pieces, dtype):
    return np.concatenate([np.reshape(piece, (ROWS, -1)) for piece in pieces], axis=1).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("parts", ROWS_OF_PARTS)
def test_value_gradient_and_curvature_are_those_of_the_weighted_sum(parts, dtype):
    loss = CombinedLoss(parts)
    exact = {"float32": {"rtol": 2e-5, "atol": 2e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}

    def sum_of_parts(outputs, targets, weights):
        return sum(
            part.weight
            * (
                part.loss.weighted_value(own, wanted, given)
                if part.steps
                else given * part.loss.value(own, wanted)
            )
            for part, own, wanted, given in zip(parts, outputs, targets, weights, strict=True)
        )

    @jax.jit
    def both(z, y, w, outputs, targets, weights):
        """S r is the gradient, S Sᵀ the curvature, with weights of steps too."""
        roots = loss.spread(jnp.sqrt(w), z)
        basis = jnp.eye(loss.size, dtype=dtype)
        root = jax.vmap(lambda unit: roots * loss.root_product(z, y, unit), out_axes=1)(basis)
        ones = [jnp.ones_like(one) for one in weights]
        return (
            (loss.value(z, y), sum_of_parts(outputs, targets, ones)),
            (loss.weighted_value(z, y, w), sum_of_parts(outputs, targets, weights)),
            (root @ (roots * loss.pseudo_residuals(z, y)), jax.grad(loss.weighted_value)(z, y, w)),
            (root @ root.T, jax.hessian(loss.weighted_value)(z, y, w)),
        )

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(st.integers(0, 2**16))
    def law(seed):
        outputs, targets, weights = drawn(parts, seed)
        laid = laid_out(row(weights, dtype), loss, (ROWS, loss.size), "sample_weight")
        with scope(np.dtype(dtype)):
            pieces = [
                [one[0].astype(dtype) for one in part] for part in (outputs, targets, weights)
            ]
            found = both(row(outputs, dtype)[0], row(targets, dtype)[0], laid[0], *pieces)
        for ours, theirs in found:
            np.testing.assert_allclose(ours, theirs, **exact[dtype])

    law()


def test_weights_of_rows_stay_such():
    loss = CombinedLoss((Part(MeanSquaredError(), (2,)), Part(MeanSquaredError(), (3, 1))))
    weights = np.array([1.0, 2.0])
    assert laid_out(weights, loss, (2, 5), "sample_weight") is not None
    np.testing.assert_array_equal(laid_out(weights, loss, (2, 5), "sample_weight"), weights)
    assert loss.steps((2, 5)) == (4,)


def test_indices_are_integers_again():
    """A loss whose targets are indices gets integers, also beside quantities."""
    seen = []

    class Table(SparseCategoricalCrossentropy):
        def value(self, outputs, targets):
            seen.append(targets.dtype)
            return jnp.mean(outputs) * 0

    both = CombinedLoss((Part(Table(), (1,)), Part(MeanSquaredError(), (1,))))
    assert both.takes_quantities
    both.value(jnp.zeros(2), jnp.array([16777216.0, 0.5]))
    alone = CombinedLoss((Part(Table(), (1,)),))
    assert not alone.takes_quantities
    alone.value(jnp.zeros(1), jnp.array([3]))
    assert all(jnp.issubdtype(dtype, jnp.integer) for dtype in seen)
    with pytest.raises(ValueError, match="sample_weight: expected one weight"):
        laid_out(np.ones((2, 5)), both, (2, 2), "sample_weight")
