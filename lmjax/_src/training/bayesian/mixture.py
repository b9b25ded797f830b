"""Several posteriors as one predictive distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Literal

import jax
import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.arrays.interval import Interval
from lmjax._src.training.bayesian.posterior import (
    Calibration,
    Kind,
    Posterior,
    Prediction,
    conformal_factor,
)
from lmjax._src.typing import Array, NumpyArray, PyTree

#: Halvings of a bracket around a quantile; each gives a digit of the binary fraction.
_HALVINGS = 60


class Mixture:
    """An ensemble of fits, each with its :class:`Posterior`, as one predictive distribution: the
    mixture of their normal distributions.

    It knows what a single one does not: how far apart the functions of several starts are where
    there are no data (B. Lakshminarayanan et al., "Simple and scalable predictive uncertainty
    estimation using deep ensembles", NeurIPS 2017; for Laplace's approximations R. Eschenhagen et
    al., "Mixtures of Laplace approximations", 2021).

    Args:
        posteriors: at least one, of models with outputs of one shape.
        weights: "equal"; or "evidence" for weights in proportion to the evidence, which mostly
            gives all to one of them; or numbers of at least 0.

    Attributes:
        posteriors: as given.
        weights: of each, of sum 1.

    Raises:
        ValueError: there is no posterior, or the weights do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> random = np.random.default_rng(0)
        >>> x = random.uniform(-1, 1, (40, 1))
        >>> y = np.sin(4 * x) + 0.1 * random.normal(size=x.shape)
        >>> network = lambda p, x: jnp.tanh(x @ p["kernel"] + p["bias"]) @ p["out"]
        >>> starts = [
        ...     {name: random.normal(size=size) for name, size in sizes.items()}
        ...     for sizes in 3 * [{"kernel": (1, 8), "bias": 8, "out": (8, 1)}]
        ... ]
        >>> result = lmjax.fit(
        ...     network, starts[0], x, y, restarts=starts[1:], regularization="bayesian", verbose=0
        ... )
        >>> mean, std = result.mixture.predict(np.array([[0.0], [3.0]]))
        >>> bool(std[1, 0] > std[0, 0])
        True
    """

    def __init__(
        self,
        posteriors: Sequence[Posterior],
        weights: Literal["equal", "evidence"] | Sequence[float] = "equal",
    ) -> None:
        if not posteriors:
            raise ValueError("posteriors: expected at least one, got none")
        self.posteriors = tuple(posteriors)
        self.weights = _weights(self.posteriors, weights)

    def predict(self, x: PyTree, *, kind: Kind = "prediction") -> Prediction:
        """Mean and standard deviation of the mixture.

        Args:
            x: inputs, as those of the fits.
            kind: as for :meth:`Posterior.predict`.

        Returns:
            (mean, std), arrays shaped as the outputs, in their units.
        """
        means, deviations = self._parts(x, kind)
        mean = np.tensordot(self.weights, means, axes=1)
        square = np.tensordot(self.weights, deviations**2 + (means - mean) ** 2, axes=1)
        return Prediction(mean, np.sqrt(square))

    def predict_interval(
        self,
        x: PyTree,
        level: float = 0.95,
        *,
        kind: Kind = "prediction",
        calibration: Calibration = "auto",
    ) -> Interval:
        """Intervals that cover a new measurement, or the function, with probability ``level``:
        between quantiles of the mixture, widened as :meth:`Posterior.predict_interval` says.

        Args:
            x: inputs, as those of the fits.
            level: the probability, between 0 and 1.
            kind: as for :meth:`Posterior.predict`.
            calibration: as for :meth:`Posterior.predict_interval`, by the errors of all fits.

        Returns:
            (lower, upper), arrays shaped as the outputs, in their units.

        Raises:
            ValueError: an argument is none of its kind.
        """
        level = arguments.probability(level, "level")
        means, deviations = self._parts(x, kind)
        scores = np.concatenate([one.leave_one_out() for one in self.posteriors])
        plain = NormalDist().inv_cdf((1 + level) / 2)
        wider = conformal_factor(scores, level, calibration) / plain
        deviations = deviations * wider
        tail = (1 - level) / 2
        ends = (self._quantile(means, deviations, share) for share in (tail, 1 - tail))
        return Interval(*ends)

    def log_density(self, x: PyTree, y: Array) -> NumpyArray:
        """The logarithm of the density at measurements.

        Args:
            x: inputs, as those of the fits.
            y: measurements, shaped as the outputs.

        Returns:
            One number for each measurement, shaped as ``y``.
        """
        means, deviations = self._parts(x, "prediction")
        apart = (np.asarray(y, np.float64).reshape(means.shape[1:]) - means) / deviations
        logs = -0.5 * apart**2 - np.log(deviations) - 0.5 * math.log(2 * math.pi)
        with np.errstate(divide="ignore"):  # a weight of zero
            logs += np.log(self.weights).reshape(-1, *(1,) * (means.ndim - 1))
        most = logs.max(axis=0)
        found: NumpyArray = most + np.log(np.sum(np.exp(logs - most), axis=0))
        return found

    def sample(self, key: Any, x: PyTree, n: int = 100) -> NumpyArray:
        """Draws functions, each from one of the posteriors; without noise.

        Args:
            key: a whole number or a key of :func:`jax.random.key`.
            x: inputs, as those of the fits.
            n: how many.

        Returns:
            The functions' outputs, (n, N, …).
        """
        n = arguments.whole_number(n, "n", 1)
        seed = int(key) if isinstance(key, (int, np.integer)) else _seed_of(key)
        generator = np.random.default_rng([seed, 1])
        counts = generator.multinomial(n, self.weights)
        parts = [
            one.sample(seed + number, x, int(count))
            for number, (one, count) in enumerate(zip(self.posteriors, counts, strict=True))
            if count
        ]
        drawn: NumpyArray = np.concatenate(parts)
        generator.shuffle(drawn)
        return drawn

    def _parts(self, x: PyTree, kind: Kind) -> tuple[NumpyArray, NumpyArray]:
        """Means and deviations of each, (posteriors, N, …)."""
        parts = [one.predict(x, kind=kind) for one in self.posteriors]
        return np.stack([part.mean for part in parts]), np.stack([part.std for part in parts])

    def _quantile(self, means: NumpyArray, deviations: NumpyArray, share: float) -> NumpyArray:
        """Where so large a share of the mixture is below, by bisection."""
        place = NormalDist().inv_cdf(share)
        ends = means + place * deviations
        low, high = ends.min(axis=0), ends.max(axis=0)
        positive = np.where(deviations > 0, deviations, 1)
        for _ in range(_HALVINGS if len(means) > 1 else 0):
            middle = (low + high) / 2
            with jax.enable_x64(True):
                below = np.asarray(jax.scipy.stats.norm.cdf((middle - means) / positive))
            below = np.where(deviations > 0, below, middle >= means)
            enough = np.tensordot(self.weights, below, axes=1) >= share
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return (low + high) / 2


def _weights(posteriors: Sequence[Posterior], given: Any) -> NumpyArray:
    if isinstance(given, str):
        if given not in ("equal", "evidence"):
            raise ValueError(f"weights: expected 'equal', 'evidence' or numbers, got {given!r}")
        if given == "equal":
            return np.full(len(posteriors), 1 / len(posteriors))
        logs = np.asarray([one.log_evidence for one in posteriors])
        shares = np.exp(logs - logs.max())
        return shares / shares.sum()
    numbers = np.asarray(given, np.float64)
    if numbers.shape != (len(posteriors),) or not (numbers >= 0).all() or not numbers.sum() > 0:
        raise ValueError(
            f"weights: expected {len(posteriors)} numbers of at least 0, and not all 0, "
            f"got {given!r}"
        )
    return numbers / numbers.sum()


def _seed_of(key: Any) -> int:
    data = jax.random.key_data(key) if hasattr(key, "dtype") and key.ndim == 0 else key
    return int(np.asarray(data).ravel()[-1])
