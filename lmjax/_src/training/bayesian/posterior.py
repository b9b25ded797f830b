"""What is known of the parameters, and of what the model predicts, after a fit with evidence
maximisation: Laplace's approximation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.arrays.interval import Interval
from lmjax._src.arrays.numbers import each, real_array
from lmjax._src.arrays.structure import Structure
from lmjax._src.runtime import precision
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.training.bayesian.likelihood import Chances
from lmjax._src.typing import ModelFn, NumpyArray, Params, PyTree

#: Bytes of the Jacobians of outputs that are made at once.
_CHUNK_BYTES = 64 * 2**20

Kind = Literal["prediction", "confidence"]
Calibration = Literal["auto", "plain", "conformal"]


class Prediction(NamedTuple):
    """Means and standard deviations of what a model predicts, both shaped as its outputs."""

    mean: PyTree
    std: PyTree


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Laplace's approximation around fitted parameters: a normal distribution whose precision is
    the Gauss-Newton matrix of the negative logarithm of the posterior, all of it.

    Attributes:
        num_effective_params: γ, how many of the parameters the data determine.
        log_evidence: the logarithm of the probability of the data, by which models, starts and
            groupings of the same data can be compared.
        precisions: of the prior, α, by the names of the groups.
        effective_params: γ of each group.
        noise_std: the standard deviation of the noise, in units of the targets; None for losses
            that know no noise, such as cross-entropies.
        num_params: P.

    Example:
        >>> import numpy as np
        >>> import lmjax
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> y = 2 * x + 1 + 0.1 * np.random.default_rng(0).normal(size=x.shape)
        >>> line = lambda p, x: x @ p["slope"] + p["offset"]
        >>> start = {"slope": np.full((1, 1), 0.1), "offset": np.full(1, 0.1)}
        >>> result = lmjax.fit(line, start, x, y, regularization="bayesian", verbose=0)
        >>> mean, std = result.posterior.predict(np.array([[0.0], [5.0]]))
        >>> bool(std[1, 0] > std[0, 0])
        True
        >>> lower, upper = result.posterior.predict_interval(np.array([[0.5]]), level=0.9)
        >>> bool(lower[0, 0] < 2.0 < upper[0, 0])
        True
    """

    num_effective_params: float
    log_evidence: float
    precisions: Mapping[str, float]
    effective_params: Mapping[str, float]
    noise_std: float | None
    num_params: int
    _model: ModelFn = dataclasses.field(repr=False)
    _params: NumpyArray = dataclasses.field(repr=False)  #: (P,)
    _structure: Structure = dataclasses.field(repr=False)
    #: W, (P, k) or (P, P), and the prior's standard deviations (P,) or None: the covariance is
    #: W Wᵀ, or diag(deviations²) - W Wᵀ
    _root: NumpyArray = dataclasses.field(repr=False)
    _prior: NumpyArray | None = dataclasses.field(repr=False)
    #: of each datum in turn left out: its error over its standard deviation, without its sign
    _scores: NumpyArray = dataclasses.field(repr=False)
    _chances: Chances | None = dataclasses.field(repr=False)
    _inputs: Callable[[PyTree], PyTree] | None = dataclasses.field(repr=False)

    def predict(self, x: PyTree, *, kind: Kind = "prediction") -> Prediction:
        """The model's outputs and their standard deviations, by linear propagation of the
        posterior.

        Args:
            x: inputs, as those of the fit.
            kind: "prediction" for a new measurement, with its noise; "confidence" for the function
                alone.

        Returns:
            (mean, std), arrays shaped as the outputs, in their units.

        Raises:
            ValueError: ``kind`` is none.
        """
        _check_kind(kind)
        means, deviations = [], []
        for mean, jacobian in self._linearized(x):
            variance = self._variance(jacobian)
            if kind == "prediction" and self.noise_std is not None:
                variance = variance + self.noise_std**2
            means.append(mean)
            deviations.append(np.sqrt(variance).reshape(mean.shape))
        return Prediction(np.concatenate(means), np.concatenate(deviations))

    def predict_probabilities(
        self,
        x: PyTree,
        *,
        method: Literal["auto", "probit", "samples"] = "auto",
        key: Any = 0,
        n: int = 1000,
    ) -> NumpyArray:
        """Probabilities of classes, averaged over the posterior of the logits: nearer to even than
        those of the fitted parameters where the data say little.

        Args:
            x: inputs, as those of the fit.
            method: "probit" for logits over √(1 + π variance / 8) (D. J. C. MacKay, "The evidence
                framework applied to classification networks", Neural Computation 4, 1992), which
                of several classes are the differences of each two (J. Daunizeau, "Semi-analytical
                approximations to statistical moments of sigmoid and softmax mappings of normal
                variables", arXiv:1703.00091), and is then rough where variances are large;
                "samples" for the mean of draws; "auto" for these where there are several classes.
            key: of the draws, a whole number or a key of :func:`jax.random.key`.
            n: how many draws.

        Returns:
            Probabilities, shaped as the outputs.

        Raises:
            ValueError: the loss of the fit knows no classes, or ``method`` is none.
        """
        if self._chances is None:
            raise ValueError(
                "predict_probabilities: the fit had no crossentropy; predict has means and "
                "standard deviations"
            )
        if method not in ("auto", "probit", "samples"):
            raise ValueError(f"method: expected 'auto', 'probit' or 'samples', got {method!r}")
        if method == "auto":
            method = "samples" if self._chances.exclusive else "probit"
        found = []
        for outputs, jacobian in self._linearized(x):
            logits, slopes = self._logits(outputs, jacobian)
            if method == "probit":
                found.append(self._by_probit(logits, slopes).reshape(outputs.shape))
                continue
            shifts = self._draws(key, arguments.whole_number(n, "n", 1))
            drawn = logits[None] + np.tensordot(shifts, slopes, axes=(1, 2))
            found.append(self._as_chances(drawn).mean(axis=0).reshape(outputs.shape))
        return np.concatenate(found)

    def _by_probit(self, logits: NumpyArray, slopes: NumpyArray) -> NumpyArray:
        assert self._chances is not None
        if not self._chances.exclusive:
            return self._as_chances(logits / np.sqrt(1 + math.pi * self._variance(slopes) / 8))
        spread = slopes @ self._root
        covariance = spread @ spread.transpose(0, 2, 1)
        if self._prior is not None:
            scaled = slopes * self._prior
            covariance = scaled @ scaled.transpose(0, 2, 1) - covariance
        own = np.diagonal(covariance, axis1=1, axis2=2)
        apart = np.maximum(own[:, :, None] + own[:, None, :] - 2 * covariance, 0)
        differences = logits[:, None, :] - logits[:, :, None]
        with np.errstate(over="ignore"):
            odds = np.exp(differences / np.sqrt(1 + math.pi * apart / 8)).sum(axis=2)
        chances: NumpyArray = 1 / odds
        return chances / chances.sum(axis=1, keepdims=True)

    def _logits(self, outputs: NumpyArray, jacobian: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        """(rows, classes), and their derivatives (rows, classes, P)."""
        assert self._chances is not None
        values = outputs.reshape(jacobian.shape[:2])
        if self._chances.from_logits:
            return values, jacobian
        values = np.clip(values, 1e-12, 1 - 1e-12)
        if self._chances.exclusive:
            return np.log(values), jacobian / values[..., None]
        return np.log(values / (1 - values)), jacobian / (values * (1 - values))[..., None]

    def _as_chances(self, logits: NumpyArray) -> NumpyArray:
        assert self._chances is not None
        if not self._chances.exclusive:
            return 0.5 * (1 + np.tanh(0.5 * logits))
        raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
        chances: NumpyArray = raised / raised.sum(axis=-1, keepdims=True)
        return chances

    def predict_interval(
        self,
        x: PyTree,
        level: float = 0.95,
        *,
        kind: Kind = "prediction",
        calibration: Calibration = "auto",
    ) -> Interval:
        """Intervals that cover a new measurement, or the function, with probability ``level``.

        The mean plus and minus a factor times the standard deviation. The plain factor is the
        quantile of the normal distribution; the conformal one that of the errors of the data, each
        left out in turn, over their standard deviations (J. Lei et al., "Distribution-free
        predictive inference for regression", JASA 113, 2018), which need no other fit (see
        :meth:`leave_one_out`).

        Args:
            x: inputs, as those of the fit.
            level: the probability, between 0 and 1.
            kind: as for :meth:`predict`.
            calibration: "plain", "conformal", or "auto" for the plain factor where it covers the
                data left out as often as ``level`` says, and else the conformal one. It has no
                effect where there is no noise.

        Returns:
            (lower, upper), arrays shaped as the outputs, in their units.

        Raises:
            ValueError: an argument is none of its kind.
        """
        level = arguments.probability(level, "level")
        mean, std = self.predict(x, kind=kind)
        reach = conformal_factor(self._scores, level, calibration) * std
        return Interval(mean - reach, mean + reach)

    def leave_one_out(self) -> NumpyArray:
        """The errors of the data, each left out of the fit in turn, over their standard deviations:
        |rᵢ| / (σ √(1 - hᵢ)) with the leverage hᵢ (R. D. Cook, S. Weisberg, "Residuals and Influence
        in Regression", 1982), for the model linearized at the fitted parameters.

        Returns:
            One number for each target; empty where there is no noise.
        """
        return self._scores.copy()

    def sample(self, key: Any, x: PyTree, n: int = 100) -> NumpyArray:
        """Draws functions from the posterior, of the model linearized at the fitted parameters;
        without noise.

        Args:
            key: a whole number or a key of :func:`jax.random.key`.
            x: inputs, as those of the fit.
            n: how many.

        Returns:
            The functions' outputs, (n, N, …).
        """
        n = arguments.whole_number(n, "n", 1)
        shifts = self._draws(key, n)
        parts = [
            mean[None] + (shifts @ jacobian.reshape(-1, self.num_params).T).reshape(n, *mean.shape)
            for mean, jacobian in self._linearized(x)
        ]
        return np.concatenate(parts, axis=1)

    def sample_params(self, key: Any, n: int = 100) -> Params:
        """Draws parameters from the posterior.

        Args:
            key: a whole number or a key of :func:`jax.random.key`.
            n: how many.

        Returns:
            A pytree like the parameters, of arrays with a first axis of length ``n``.
        """
        n = arguments.whole_number(n, "n", 1)
        drawn = self._params[None] + self._draws(key, n)
        trees = [self._structure.unflatten(one) for one in drawn]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)

    def _draws(self, key: Any, n: int) -> NumpyArray:
        """Normal numbers of the posterior's covariance, (n, P)."""
        generator = _generator(key)
        if self._prior is None:
            return generator.normal(size=(n, self._root.shape[1])) @ self._root.T
        # D (I - S Sᵀ) D with S = D⁻¹ W: its root is D (I - U C Uᵀ) for the left singular vectors U
        # of S, U = S V Σ⁻¹, and C = 1 - √(1 - Σ²).
        scaled = self._root / self._prior[:, None]
        values, directions = np.linalg.eigh(scaled.T @ scaled)
        shrinks = (1 - np.sqrt(np.clip(1 - values, 0, 1))) / np.where(values > 0, values, 1)
        plain = generator.normal(size=(n, self.num_params))
        inner = (plain @ scaled) @ directions * shrinks
        return (plain - inner @ directions.T @ scaled.T) * self._prior

    def _variance(self, jacobian: NumpyArray) -> NumpyArray:
        """Of outputs with these derivatives (…, P)."""
        spread = jacobian @ self._root
        squares = np.sum(spread * spread, axis=-1)
        if self._prior is None:
            return squares
        scaled = jacobian * self._prior
        return np.maximum(np.sum(scaled * scaled, axis=-1) - squares, 0)

    def _linearized(self, x: PyTree) -> Iterator[tuple[NumpyArray, NumpyArray]]:
        """Outputs (n, …) and their derivatives (n, outputs, P), by chunks of rows."""
        x = x if self._inputs is None else self._inputs(x)
        inputs = each(x, "x", lambda leaf, name: np.asarray(real_array(leaf, name)))
        rows = len(jax.tree.leaves(inputs)[0])
        if not rows:
            raise ValueError("x: expected at least one row, got none")
        dtype = self._root.dtype
        inputs = jax.tree.map(
            lambda leaf: leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf, inputs
        )
        with precision.scope(dtype):
            # A pytree stays as it is: wrapped it would be known by its place in memory, and
            # compiled for anew after each fit.
            model = arguments.as_pytree_callable(self._model, "model")
            flat = self._params
            one = jax.eval_shape(
                lambda p, rows: model(self._structure.unflatten(p), rows),
                flat,
                jax.tree.map(lambda leaf: leaf[:1], inputs),
            )
            width = max(one.size * self.num_params * np.dtype(dtype).itemsize, 1)
            step = max(1, min(rows, _CHUNK_BYTES // width))
            for start in range(0, rows, step):
                rows_here = np.minimum(np.arange(start, start + step), rows - 1)  # the last again
                filled = jax.tree.map(partial(np.take, indices=rows_here, axis=0), inputs)
                count = min(step, rows - start)
                outputs, jacobian = _derivatives(self._structure, model, flat, filled)
                yield np.asarray(outputs)[:count], np.asarray(jacobian)[:count]


@recent(static_argnums=(0,))
def _derivatives(
    structure: Structure, model: Callable[..., jax.Array], flat: jax.Array, inputs: PyTree
) -> tuple[jax.Array, jax.Array]:
    """Outputs (n, …), and (n, outputs, P)."""

    def of_row(params: jax.Array, row: PyTree) -> tuple[jax.Array, jax.Array]:
        outputs = model(structure.unflatten(params), jax.tree.map(lambda leaf: leaf[None], row))[0]
        return outputs.ravel(), outputs

    by_row = jax.vmap(jax.jacrev(of_row, has_aux=True), in_axes=(None, 0))
    jacobian, outputs = by_row(flat, inputs)
    return outputs, jacobian


def _generator(key: Any) -> np.random.Generator:
    """NumPy's, of a whole number or of one of JAX' keys.

    Raises:
        ValueError: it is neither.
    """
    words = np.asarray(jax.random.key_data(key) if _is_typed(key) else key)
    if words.dtype.kind not in "iu" or words.size == 0 or (words < 0).any():
        raise ValueError(
            f"key: expected a whole number of at least 0 or a key of jax.random.key, got {key!r}"
        )
    return np.random.default_rng(int(words) if words.ndim == 0 else words.ravel().tolist())


def _is_typed(key: Any) -> bool:
    return isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def conformal_factor(scores: NumpyArray, level: float, calibration: str) -> float:
    """What deviations are multiplied with; see :meth:`Posterior.predict_interval`."""
    if calibration not in ("auto", "plain", "conformal"):
        raise ValueError(
            f"calibration: expected 'auto', 'plain' or 'conformal', got {calibration!r}"
        )
    plain = NormalDist().inv_cdf((1 + level) / 2)
    count = scores.size
    if not count or calibration == "plain":
        return plain
    place = math.ceil((count + 1) * level)
    conformal = math.inf if place > count else float(np.sort(scores)[place - 1])
    if calibration == "conformal":
        return conformal
    covers = float(np.mean(scores <= plain)) >= level
    return plain if covers or not math.isfinite(conformal) else max(plain, conformal)


def _check_kind(kind: str) -> None:
    if kind not in ("prediction", "confidence"):
        raise ValueError(f"kind: expected 'prediction' or 'confidence', got {kind!r}")
