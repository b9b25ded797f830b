"""What regression and classification by a dense network have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.estimators.affine_map import AffineMap, folded, identity, standardization
from lmjax._src.estimators.dense_network import drawn, hidden_sizes, network_of, of_kernels
from lmjax._src.estimators.rows import repeated_to, rounded_up, zeros_to
from lmjax._src.estimators.scikit_learn import (
    BaseEstimator,
    check_is_fitted,
    check_random_state,
    train_test_split,
    validated,
)
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.training.bayesian.request import Bayesian
from lmjax._src.training.fit import fit
from lmjax._src.training.fit_result import FitResult
from lmjax._src.typing import DType, NumpyArray, Params

#: The largest seed of a fit.
_MOST_SEEDS = 2**31 - 1


class Rows(NamedTuple):
    """Data of a fit: inputs (N, features), targets (N, outputs) and weights (N,), in float64."""

    x: NumpyArray
    y: NumpyArray
    weights: NumpyArray

    def mapped(self, inputs: AffineMap, outputs: AffineMap) -> Rows:
        """In standardised numbers."""
        return Rows(inputs.forward(self.x), outputs.forward(self.y), self.weights)

    def normalized(self) -> Rows:
        """With weights whose mean is one, so that only their proportions matter."""
        return self._replace(weights=self.weights * (len(self.weights) / self.weights.sum()))

    def filled(self) -> Rows:
        """With rows of weight zero, up to a length that data of similar lengths share. The sum
        of weighted losses stays, over more rows.
        """
        length = rounded_up(len(self.x))
        x, y = (repeated_to(length, array) for array in (self.x, self.y))
        return Rows(x, y, zeros_to(length, self.weights))

    def cast(self, dtype: DType) -> tuple[NumpyArray, ...]:
        """(x, y, weights) in the precision of a fit."""
        return tuple(array.astype(dtype) for array in self)


class DenseEstimator(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A dense network as an estimator; see :class:`lmjax.sklearn.LMRegressor`."""

    def __init__(
        self,
        hidden_layer_sizes: Any = (16,),
        *,
        activation: str = "tanh",
        regularization: str | Bayesian | None = None,
        alpha: float | None = None,
        restarts: int = 1,
        epochs: int = 100,
        batch_size: int | None = None,
        solver: LevenbergMarquardt | None = None,
        standardize: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        dtype: Any = "float64",
        random_state: Any = None,
        verbose: int | str = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.regularization = regularization
        self.alpha = alpha
        self.restarts = restarts
        self.epochs = epochs
        self.batch_size = batch_size
        self.solver = solver
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def _train(
        self,
        data: Rows,
        loss: Loss,
        *,
        share: float,
        usual_alpha: float,
        labels: NumpyArray | None = None,
    ) -> None:
        """Fits the network, and keeps what came of it.

        Args:
            data: of the fit.
            loss: of outputs (N, outputs), a likelihood.
            share: of the penalty α ‖kernels‖² / Σ weights that is in the loss.
            usual_alpha: α where none was given.
            labels: of classes, (N,), whose targets are as they are; None for numbers.
        """
        dtype, network = _dtype_of(self.dtype), network_of(self.activation)
        sizes = (data.x.shape[1], *hidden_sizes(self.hidden_layer_sizes), data.y.shape[1])
        random = check_random_state(self.random_state)
        training, held_out = self._split(data, labels, random)
        inputs, outputs = identity(sizes[0]), identity(sizes[-1])
        if self.standardize:
            inputs = standardization(training.x, training.weights)
        if self.standardize and labels is None:
            outputs = standardization(training.y, training.weights)
        count = arguments.whole_number(self.restarts, "restarts", 1)
        start, *others = (drawn(random, sizes, dtype) for _ in range(count))
        alpha = usual_alpha if self.alpha is None else self.alpha
        factor = share * arguments.real_number(alpha, "alpha", 0.0) / training.weights.sum()
        training, bayesian = training.mapped(inputs, outputs), self.regularization is not None
        if self.batch_size is None:
            training = training.filled()
        # where the noise is of a weight of one, weights are as they are, and the losses not
        shrunk = training.weights.mean() if bayesian else 1.0
        x, y, weights = (training if bayesian else training.normalized()).cast(dtype)
        options: dict[str, Any] = {} if bayesian else {"l2": of_kernels(factor, start)}
        if held_out is not None:
            held_out = held_out.mapped(inputs, outputs).filled().normalized()
            options |= {"validation_data": held_out.cast(dtype), "patience": self.patience}
        result = fit(
            network,
            start,
            x,
            y,
            loss=loss,
            sample_weight=weights,
            epochs=self.epochs,
            batch_size=self.batch_size,
            solver=self.solver,
            seed=int(random.randint(_MOST_SEEDS)),
            restarts=others,
            regularization=self.regularization,
            verbose=self.verbose,
            **options,
        )
        self._network, self._inputs, self._outputs = network, inputs, outputs
        self._keep(result, float(shrunk))

    def _split(
        self, data: Rows, labels: NumpyArray | None, random: np.random.RandomState
    ) -> tuple[Rows, Rows | None]:
        """The rows to train on, and those whose loss ends the fit."""
        if not self.early_stopping:
            return data, None
        fraction = arguments.real_number(self.validation_fraction, "validation_fraction", 0.0)
        if not 0 < fraction < 1:
            raise ValueError(
                f"validation_fraction: expected a share between 0 and 1, got {fraction}"
            )
        training, held_out = train_test_split(
            np.arange(len(data.x)), test_size=fraction, random_state=random, stratify=labels
        )
        parts = (Rows(*(array[chosen] for array in data)) for chosen in (training, held_out))
        kept, tried = parts
        for rows in (kept, tried):
            if not rows.weights.any():
                raise ValueError(
                    "sample_weight: early_stopping has drawn rows of weight zero alone; leave "
                    "such rows out"
                )
        return kept, tried

    def _keep(self, result: FitResult, shrunk: float) -> None:
        """The attributes of a fitted estimator, nothing that holds the data; the losses of the
        result are ``shrunk`` times those of the data.
        """
        self._params: Params = [
            {name: np.asarray(array) for name, array in layer.items()} for layer in result.params
        ]
        raw = folded(self._params, self._inputs, self._outputs)
        self.coefs_ = [layer["kernel"] for layer in raw]
        self.intercepts_ = [layer["bias"] for layer in raw]
        self.history_ = result.history | {
            name: [number / shrunk for number in result.history[name]]
            for name in ("loss", "gradient_norm")
        }
        self.loss_curve_ = list(self.history_["loss"])
        self.n_iter_ = len(self.loss_curve_)
        self.best_epoch_ = result.best_epoch
        self.loss_ = (
            result.start["loss"] / shrunk
            if result.best_epoch is None
            else self.loss_curve_[result.best_epoch]
        )
        self.status_ = result.status
        self.posterior_ = None if self.regularization is None else result.posterior

    def _standardized(self, X: Any) -> NumpyArray:
        """Inputs of the network, checked against those of the fit."""
        check_is_fitted(self)
        X = validated(self, X, dtype=np.float64, reset=False)
        forward: NumpyArray = self._inputs.forward(X).astype(_dtype_of(self.dtype))
        return forward

    def _network_outputs(self, X: Any) -> NumpyArray:
        """Those for inputs as a caller has them, in float64 from the network's precision."""
        inputs = self._standardized(X)
        outputs: NumpyArray = self._outputs.back(self._network.predict(self._params, inputs))
        return outputs


def _dtype_of(given: Any) -> DType:
    try:
        dtype = np.dtype(given)
    except TypeError:
        dtype = None
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype: expected 'float32' or 'float64', got {given!r}")
    return dtype
