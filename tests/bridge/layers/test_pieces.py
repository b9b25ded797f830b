"""Splitting and joining without concatenations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridge._src.layers.pieces import joined, parts
from lmjax._src.runtime.precision import scope


def _random(*shape, dtype=np.float64):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "sections", "axis"),
    [((2, 4, 20), 4, -1), ((2, 4, 9), [5, 7], 2), ((6, 2), 3, 0), ((3, 40), 4, 1)],
)
def test_parts_and_their_whole_are_those_of_jax(shape, sections, axis, dtype):
    x = _random(*shape, dtype=dtype)
    with scope(dtype):
        expected = jnp.split(x, sections, axis)
        for got, wanted in zip(parts(jnp.asarray(x), sections, axis), expected, strict=True):
            np.testing.assert_array_equal(got, wanted, strict=True)
        np.testing.assert_array_equal(joined(expected, axis), x, strict=True)


@pytest.mark.parametrize("width", [1, 5, 7, 8])
def test_neither_they_nor_their_derivatives_concatenate(width):
    x = _random(2, 4, 3 * width)
    pieces = jnp.split(x, 3, -1)

    def pulled(function, at):
        values, pull = jax.vjp(function, at)
        return jax.vmap(pull)(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), values))

    for function, at in (
        (lambda x: [part**2 for part in parts(x, 3)], x),
        (lambda pieces: joined([p**2 for p in pieces]), pieces),
    ):
        for program in (
            function,
            lambda at, f=function: pulled(f, at),
            lambda at, f=function: jax.jvp(f, (at,), (at,)),
        ):
            assert "concatenate" not in str(jax.make_jaxpr(program)(at))


def test_values_without_number_stay_where_they_are():
    pieces = [jnp.asarray([1.0, np.inf]), jnp.asarray([np.nan])]
    np.testing.assert_array_equal(joined(pieces), [1.0, np.inf, np.nan])


def test_whole_numbers_and_truth_values_are_joined():
    assert joined([jnp.asarray([True]), jnp.asarray([False])]).tolist() == [True, False]
    assert joined([jnp.asarray([1, 2]), jnp.asarray([3])]).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "call",
    [
        lambda: joined([jnp.ones((2, 1, 5)), jnp.ones((2, 4, 5))]),
        lambda: parts(jnp.ones((2, 5)), 2),
    ],
)
def test_what_does_not_fit_is_refused_as_in_jax(call):
    with pytest.raises((TypeError, ValueError)):
        call()
