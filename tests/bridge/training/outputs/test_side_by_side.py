"""Targets and weights of several outputs side by side: exact, or refused with the output's name."""

from types import SimpleNamespace

import numpy as np
import pytest

from bridge._src.training.outputs.combined_loss import CombinedLoss, Part
from bridge._src.training.outputs.side_by_side import SideBySide
from lmjax.losses import MeanSquaredError, SparseCategoricalCrossentropy

MANY = 2**24 + 3  #: classes, more than float32 tells apart


def rows(*parts, dtype="float32"):
    names = tuple("abc"[: len(parts)])
    combined = CombinedLoss(tuple(Part(*part) for part in parts))
    return SideBySide(SimpleNamespace(dtype=np.dtype(dtype)), combined, names)


SQUARES, CLASSES = (MeanSquaredError(), (2,)), (SparseCategoricalCrossentropy(), (3, MANY))


def test_targets_and_weights_keep_their_places():
    mixed = rows(SQUARES, CLASSES, (MeanSquaredError(), ()))
    first, indices, last = np.arange(4.0).reshape(2, 2), np.arange(6).reshape(2, 3), np.ones(2)
    found = mixed.targets([first, indices[..., None], last])
    np.testing.assert_array_equal(found, [[0, 1, 0, 1, 2, 1], [2, 3, 3, 4, 5, 1]])
    assert found.dtype == np.float32
    weights = mixed.weights([np.array([[2.0], [3.0]]), indices, None], 2)
    np.testing.assert_array_equal(weights, [[2, 0, 1, 2, 1], [3, 3, 4, 5, 1]])
    assert mixed.weights([None, None, None], 2) is None
    assert mixed.weights(None, 2) is None


@pytest.mark.parametrize("given", [int, float])
def test_indices_are_exact_or_refused(given):
    """Also such as float32 does not tell apart."""
    large = np.array([[0, 5, MANY - 1], [1, 2, 2**24]]).astype(given)
    alone = rows(CLASSES, CLASSES).targets([large, large])
    assert alone.dtype.kind == "i"
    np.testing.assert_array_equal(alone, np.hstack([large, large]).astype(int))
    squares = np.zeros((2, 2))
    in_double = rows(SQUARES, CLASSES, dtype="float64").targets([squares, large])
    np.testing.assert_array_equal(in_double[:, 2:], large.astype(int))
    with pytest.raises(ValueError, match=r"^y of output 'b': holds indices beyond 16777216"):
        rows(SQUARES, CLASSES).targets([squares, large])
    at_most = np.minimum(large, 2**24)
    np.testing.assert_array_equal(
        rows(SQUARES, CLASSES).targets([squares, at_most])[:, 2:].astype(int), at_most.astype(int)
    )


def test_what_does_not_fit_names_the_output_and_the_row():
    mixed = rows(SQUARES, CLASSES)
    squares, indices = np.zeros((2, 2)), np.zeros((2, 3), int)
    for targets, words in (
        ([squares[:, :1], indices], r"y of output 'a': expected shape \(2, 2\)"),
        ([squares, indices[:1]], "y: all outputs need targets for the same rows; y of output 'a' "),
        ([squares, indices - 1], "y of output 'b': sparse_categorical_crossentropy needs whole"),
        ([squares + np.inf, indices], "y of output 'a': 2 of 2 rows .* first is row 7"),
    ):
        with pytest.raises(ValueError, match=f"^{words}"):
            mixed.targets(targets, first_row=7)
    with pytest.raises(TypeError, match=r"^y of output 'b': expected numbers"):
        mixed.targets([squares, np.array([["x"] * 3] * 2)])
    with pytest.raises(ValueError, match=r"^sample_weight of output 'b': expected one weight"):
        mixed.weights([None, np.ones((2, 4))], 2)
    with pytest.raises(ValueError, match="give it takes_quantities = True"):
        rows(SQUARES, (Whole(), (2,))).targets([squares, squares + 0.5])


class Whole(SparseCategoricalCrossentropy):
    def target_shape(self, outputs_shape):
        return outputs_shape

    def prepare(self, targets, outputs_shape):
        pass
