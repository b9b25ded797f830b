"""Classification: ``lmjax.sklearn.LMClassifier``."""

from __future__ import annotations

import numpy as np

from lmjax._src.estimators.estimator import DenseEstimator, Rows
from lmjax._src.estimators.scikit_learn import (
    ClassifierMixin,
    check_classification_targets,
    checked_weights,
    column_or_1d,
    validated,
)
from lmjax._src.objectives.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.typing import ArrayLike, NumpyArray

#: As of scikit-learn's LogisticRegression (C=1). With MLPClassifier's 1e-4 the minimum for classes
#: that can be told apart is so flat that a fit's end is rounding's: probabilities of fits by
#: weights and by repeated rows differed by 2e-6 with losses equal to 2e-11.
_ALPHA = 1.0


class LMClassifier(ClassifierMixin, DenseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A dense network for two classes or more, trained by Levenberg-Marquardt.

    An estimator of scikit-learn, for pipelines, searches and cross-validation. The cross-entropy
    is lowered: of one logit for two classes, else of as many as there are. Labels may be anything
    that can be sorted.

    Its arguments are those of :class:`lmjax.sklearn.LMRegressor`, with these differences: the
    penalty of ``alpha`` is half as large, as it is beside a squared error that is twice the
    logarithm of a probability, and None stands for 1, as in scikit-learn's ``LogisticRegression``,
    since without a penalty the weights for classes that can be told apart have no end;
    ``standardize`` is of inputs alone; and the rows that ``early_stopping`` holds out have the
    classes in the proportions of all.

    Attributes:
        classes_: the labels, sorted.
        coefs_: kernels of the layers, (inputs, units), of a network that takes inputs as they are
            and gives logits.
        intercepts_: its biases.
        n_iter_: how many epochs there were.
        loss_: the loss of the weights that were kept, the penalty of ``alpha`` in it.
        loss_curve_: the loss after each epoch.
        history_: all that :class:`lmjax.FitResult` tells of each epoch.
        best_epoch_: the epoch, from 0, whose weights were kept; None for a start.
        status_: why the fit stopped, an :class:`lmjax.Status`.
        posterior_: the :class:`lmjax.Posterior` of the logits for standardised inputs, with
            Bayesian regularization; else None.
        n_features_in_: how many columns inputs have.
        feature_names_in_: their names, where they came with some.

    Example:
        >>> import numpy as np
        >>> from lmjax.sklearn import LMClassifier
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> labels = np.where(np.hypot(*x.T) < 1, "inside", "outside")
        >>> model = LMClassifier((6,), alpha=0.01, random_state=0).fit(x, labels)
        >>> model.score(x, labels) > 0.95
        True
        >>> print(model.predict([[0.0, 0.0], [2.0, 2.0]]))
        ['inside' 'outside']
        >>> model.predict_proba([[0.0, 0.0]]).round(1)
        array([[1., 0.]])
    """

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike = None) -> LMClassifier:
        """Trains a new network.

        Args:
            X: inputs, (N, features).
            y: labels, (N,).
            sample_weight: how much each row counts, (N,), at least 0; ones for None.

        Returns:
            The estimator.

        Raises:
            TypeError, ValueError: an argument of this or of the constructor is none of its kind;
                the message names it.
        """
        X, y = validated(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weights = checked_weights(sample_weight, X)
        self.classes_, numbers = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise ValueError(
                f"y: expected at least two classes, got one class, {self.classes_[0]!r}"
            )
        loss: Loss = BinaryCrossentropy(from_logits=True)
        targets = numbers[:, None].astype(np.float64)
        if count > 2:
            loss, targets = CategoricalCrossentropy(from_logits=True), np.eye(count)[numbers]
        self._train(Rows(X, targets, weights), loss, share=0.5, usual_alpha=_ALPHA, labels=numbers)
        return self

    def predict(self, X: ArrayLike) -> NumpyArray:
        """The labels of the most probable classes.

        Args:
            X: inputs, (N, features).

        Returns:
            Labels, (N,).

        Raises:
            NotFittedError: :meth:`fit` comes first.
            ValueError: inputs do not fit.
        """
        numbers = np.argmax(self._logits(X), axis=1)
        labels: NumpyArray = self.classes_[numbers]
        return labels

    def predict_proba(self, X: ArrayLike) -> NumpyArray:
        """The probabilities of the classes.

        Args:
            X: inputs, (N, features).

        Returns:
            Probabilities, (N, classes), in the order of ``classes_``.

        Raises:
            NotFittedError: :meth:`fit` comes first.
            ValueError: inputs do not fit.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: ArrayLike) -> NumpyArray:
        """The logarithms of the probabilities of the classes.

        Args:
            X: inputs, (N, features).

        Returns:
            Logarithms, (N, classes), in the order of ``classes_``.

        Raises:
            NotFittedError: :meth:`fit` comes first.
            ValueError: inputs do not fit.
        """
        logits = self._logits(X)
        shifted = logits - logits.max(axis=1, keepdims=True)
        logarithms: NumpyArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return logarithms

    def _logits(self, X: ArrayLike) -> NumpyArray:
        """One for each class; of two classes the first has zeros."""
        logits = self._network_outputs(X)
        return logits if logits.shape[1] > 1 else np.hstack([np.zeros_like(logits), logits])
