"""Laplace's approximation against samples of the posterior itself."""

from __future__ import annotations

from typing import Any

import emcee
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax


def bend(params: Any, x: jax.Array) -> jax.Array:
    return params["height"] * jnp.tanh(params["slope"] * x)


@pytest.mark.slow
def test_two_parameters_have_the_moments_of_a_markov_chain() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (200, 1))
    y = 1.5 * np.tanh(2 * x) + 0.1 * random.normal(size=x.shape)
    start = {"height": np.ones(1), "slope": np.ones(1)}
    options = lmjax.Bayesian("one")
    posterior = lmjax.fit(bend, start, x, y, regularization=options, verbose=0).posterior
    (alpha,), beta = posterior.precisions.values(), 1 / posterior.noise_std**2

    def log_posterior(points: np.ndarray) -> np.ndarray:
        """Of (walkers, 2), with the precisions that were found."""
        curves = points[:, :1] * np.tanh(points[:, 1:] * x[:, 0])
        errors = np.sum((curves - y[:, 0]) ** 2, axis=1)
        return -0.5 * (beta * errors + alpha * np.sum(points**2, axis=1))

    walkers = 20
    begin = np.array([1.5, 2.0]) + 0.01 * random.normal(size=(walkers, 2))
    sampler = emcee.EnsembleSampler(walkers, 2, log_posterior, vectorize=True)
    sampler.random_state = np.random.RandomState(0).get_state()
    sampler.run_mcmc(begin, 6_000)
    chain = sampler.get_chain(discard=1_000, flat=True)
    drawn = posterior.sample_params(1, 50_000)
    ours = np.concatenate([drawn["height"], drawn["slope"]], axis=1)
    spread = chain.std(axis=0)
    # Of 100 000 samples, of which every fortieth is a new one, and a posterior that is bent a
    # little: the third moments of the chain say by how much.
    np.testing.assert_allclose(ours.mean(axis=0), chain.mean(axis=0), atol=0.1 * spread.max())
    np.testing.assert_allclose(ours.std(axis=0), spread, rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(ours.T)[0, 1], np.corrcoef(chain.T)[0, 1], atol=0.02)
    new = np.array([[0.1], [0.9]])
    curves = chain[:, :1] * np.tanh(chain[:, 1:] * new[:, 0])
    _, std = posterior.predict(new, kind="confidence")
    np.testing.assert_allclose(std[:, 0], curves.std(axis=0), rtol=0.05)
