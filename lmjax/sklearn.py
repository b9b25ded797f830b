"""Small dense networks, trained by Levenberg-Marquardt, as estimators of scikit-learn."""

from __future__ import annotations

from lmjax._src.estimators.classifier import LMClassifier
from lmjax._src.estimators.regressor import LMRegressor

__all__ = ["LMClassifier", "LMRegressor"]
