"""What the estimators use of scikit-learn, from 1.5 on. To import this asks for the extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmjax._src.runtime.optional import needed

if not TYPE_CHECKING:
    needed("sklearn", "sklearn", "lmjax.sklearn")

from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils import validation as _validation
from sklearn.utils.multiclass import check_classification_targets

__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "MultiOutputMixin",
    "RegressorMixin",
    "check_classification_targets",
    "check_is_fitted",
    "check_random_state",
    "checked_weights",
    "column_or_1d",
    "train_test_split",
    "validated",
]

check_is_fitted = _validation.check_is_fitted


def validated(estimator: Any, *data: Any, **options: Any) -> Any:
    """Inputs, or inputs and targets, as arrays; a fit remembers their number and their names."""
    if hasattr(_validation, "validate_data"):
        return _validation.validate_data(estimator, *data, **options)
    return estimator._validate_data(*data, **options)  # scikit-learn 1.5


def checked_weights(sample_weight: Any, X: Any) -> Any:
    """One weight, at least 0, for each row; ones for None.

    Raises:
        ValueError: they are not, or all are zero.
    """
    weights = _validation._check_sample_weight(sample_weight, X, dtype=X.dtype)
    if weights.min() < 0:
        raise ValueError(
            f"sample_weight: expected numbers of at least 0, got {weights.min():g}; leave rows "
            "that shall not count at 0"
        )
    if not weights.any():
        raise ValueError("sample_weight: all are zero, so that no row counts; give one a weight")
    return weights
