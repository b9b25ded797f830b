"""Regression: ``lmjax.sklearn.LMRegressor``."""

from __future__ import annotations

from typing import Any

import numpy as np

from lmjax._src.arrays.interval import Interval
from lmjax._src.estimators.estimator import DenseEstimator, Rows
from lmjax._src.estimators.rows import repeated_to, rounded_up
from lmjax._src.estimators.scikit_learn import (
    MultiOutputMixin,
    RegressorMixin,
    checked_weights,
    validated,
)
from lmjax._src.objectives.losses.mean_squared_error import MeanSquaredError
from lmjax._src.training.bayesian.posterior import Posterior
from lmjax._src.typing import ArrayLike, NumpyArray

#: As of scikit-learn's MLPRegressor.
_ALPHA = 1e-4


class LMRegressor(MultiOutputMixin, RegressorMixin, DenseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A dense network for one number or several, trained by Levenberg-Marquardt.

    An estimator of scikit-learn, for pipelines, searches and cross-validation. Squared errors are
    lowered, by default on standardised inputs and targets, in which the losses are: without a
    penalty that of one target is 1 - R². Nothing is compiled for a second fit of data of the same
    shape, or of up to a sixteenth more rows where they are as many for compiled programs, as the
    folds of a cross-validation mostly are; and nothing for predictions, but those with deviations.

    Args:
        hidden_layer_sizes: units of the hidden layers; () for a linear model.
        activation: of the hidden layers: "identity", "logistic", "relu", "silu", "softplus" or
            "tanh".
        regularization: None, or "bayesian" (or an :class:`lmjax.Bayesian`) for penalties that
            follow from the evidence of the data, and for predictions with standard deviations.
        alpha: the penalty on kernels, α ‖kernels‖² over the sum of the sample weights, beside the
            mean squared error; None for 1e-4. Without effect where ``regularization`` is Bayesian.
        restarts: from how many random starts to fit; the best by its loss (of the validation with
            ``early_stopping``, by its evidence with Bayesian regularization) counts.
        epochs: the most epochs: steps on all rows, or passes over batches.
        batch_size: rows in a batch; None for steps on all rows.
        solver: an :class:`lmjax.LevenbergMarquardt`; None for that of :func:`lmjax.fit`.
        standardize: whether inputs and targets have zero mean and unit variance in the network.
        early_stopping: whether to hold out rows, return the weights of the least loss on them, and
            stop when that has not become smaller for ``patience`` epochs.
        validation_fraction: the share of the rows that ``early_stopping`` holds out.
        patience: see ``early_stopping``.
        dtype: the precision of the fit, "float64" or "float32".
        random_state: a seed, or a ``numpy.random.RandomState``, of starts, of the rows held out and
            of batches; None for others each time.
        verbose: as for :func:`lmjax.fit`.

    Attributes:
        coefs_: kernels of the layers, (inputs, units), of a network that takes and gives numbers as
            they are.
        intercepts_: its biases.
        n_iter_: how many epochs there were.
        loss_: the loss of the weights that were kept, the penalty of ``alpha`` in it.
        loss_curve_: the loss after each epoch.
        history_: all that :class:`lmjax.FitResult` tells of each epoch.
        best_epoch_: the epoch, from 0, whose weights were kept; None for a start.
        status_: why the fit stopped, an :class:`lmjax.Status`.
        posterior_: the :class:`lmjax.Posterior` of the network of standardised numbers, with
            Bayesian regularization; else None.
        n_features_in_: how many columns inputs have.
        feature_names_in_: their names, where they came with some.

    Example:
        >>> import numpy as np
        >>> from lmjax.sklearn import LMRegressor
        >>> random = np.random.default_rng(0)
        >>> x = random.uniform(-2, 2, (200, 1))
        >>> y = np.sin(2 * x[:, 0]) + 0.1 * random.normal(size=200)
        >>> model = LMRegressor((8,), regularization="bayesian", random_state=0).fit(x, y)
        >>> model.score(x, y) > 0.97
        True
        >>> mean, std = model.predict(np.array([[0.5], [5.0]]), return_std=True)
        >>> bool(std[1] > 2 * std[0])
        True
    """

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike = None) -> LMRegressor:
        """Trains a new network.

        Args:
            X: inputs, (N, features).
            y: targets, (N,) or (N, targets).
            sample_weight: how much each row counts, (N,), at least 0; ones for None.

        Returns:
            The estimator.

        Raises:
            TypeError, ValueError: an argument of this or of the constructor is none of its kind;
                the message names it.
        """
        y = y.toarray() if hasattr(y, "toarray") else y  # one of SciPy's sparse matrices
        X, y = validated(self, X, y, multi_output=True, y_numeric=True, dtype=np.float64)
        y = np.asarray(y, np.float64)
        weights = checked_weights(sample_weight, X)
        self._single = y.ndim == 1
        data = Rows(X, y.reshape(len(y), -1), weights)
        self._train(data, MeanSquaredError(), share=1.0, usual_alpha=_ALPHA)
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Targets, and how sure they are.

        Args:
            X: inputs, (N, features).
            return_std: whether to return the standard deviations of new measurements, too: of
                their noise, and of what the data leave open. With Bayesian regularization.

        Returns:
            The targets, shaped as those of the fit; with ``return_std`` (mean, std).

        Raises:
            NotFittedError: :meth:`fit` comes first.
            ValueError: inputs do not fit, or there are no standard deviations.
        """
        if not return_std:
            return self._shaped(self._network_outputs(X))
        inputs = self._standardized(X)
        posterior = self._posterior("return_std")
        count = len(inputs)
        mean, std = posterior.predict(repeated_to(rounded_up(count), inputs))
        mean = self._outputs.back(mean[:count])
        return self._shaped(mean), self._shaped(std[:count] * self._outputs.scale)

    def predict_interval(self, X: ArrayLike, level: float = 0.95) -> Interval:
        """Intervals in which new measurements are with probability ``level``; with Bayesian
        regularization.

        Args:
            X: inputs, (N, features).
            level: the probability, between 0 and 1.

        Returns:
            (lower, upper), each shaped as the targets; see
            :meth:`lmjax.Posterior.predict_interval`.

        Raises:
            NotFittedError: :meth:`fit` comes first.
            ValueError: an argument does not fit, or the fit was without that regularization.
        """
        inputs = self._standardized(X)
        posterior = self._posterior("predict_interval")
        count = len(inputs)
        ends = posterior.predict_interval(repeated_to(rounded_up(count), inputs), level)
        lower, upper = (self._shaped(self._outputs.back(end[:count])) for end in ends)
        return Interval(lower, upper)

    def _posterior(self, asked: str) -> Posterior:
        if self.posterior_ is None:
            raise ValueError(
                f"{asked}: this fit says nothing of how sure predictions are; make the estimator "
                "with regularization='bayesian' for that"
            )
        posterior: Posterior = self.posterior_
        return posterior

    def _shaped(self, outputs: NumpyArray) -> NumpyArray:
        """(N, outputs) as the targets of the fit, in its precision."""
        outputs = outputs.astype(self._params[0]["bias"].dtype)
        return outputs[:, 0] if self._single else outputs
