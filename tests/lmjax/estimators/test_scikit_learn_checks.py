"""scikit-learn's own checks of estimators, all that its installed version has."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from lmjax.sklearn import LMClassifier, LMRegressor


@pytest.mark.slow
@parametrize_with_checks([LMRegressor(), LMClassifier()])
def test_an_estimator_is_one_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)
