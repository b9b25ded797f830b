"""J Jᵀ from the structure of a model against J Jᵀ from J, for the ways in which parameters and data meet."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax import precision
from lmjax.layerwise import find_meetings, gram_matrices, grams

RANDOM = np.random.default_rng(0)


def array(*shape):
    return RANDOM.normal(size=shape)


def recurrent(p, x):
    def cell(h, x_t):
        h = jnp.tanh(x_t @ p[0] + h @ p[1] + p[2])
        return h, h

    return jax.lax.scan(cell, jnp.zeros(3, x.dtype), x)[0] @ p[3]


def convolutional(p, x):
    hidden = jax.lax.conv_general_dilated(x[None], p[0], (2, 1), "SAME", rhs_dilation=(1, 2), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    hidden = jax.lax.conv_general_dilated(
        jnp.tanh(hidden + p[1]), p[2], (1, 1), [(1, 1), (1, 1)], lhs_dilation=(2, 2), dimension_numbers=("NHWC", "HWOI", "NHWC")
    )
    return hidden.mean((1, 2))[0]


@jax.custom_jvp
def rounded(w):
    return jnp.round(w)


rounded.defjvp(lambda primals, tangents: (rounded(*primals), tangents[0]))  # straight through: not the derivative


#: name: (function of (params, x), shapes of params, inputs, kinds of meetings by parameter, parameters that are opaque)
CASES = {
    "dense": (lambda p, x: jnp.tanh(x @ p[0] + p[1]) @ p[2] + p[3], [(4, 5), (5,), (5, 2), (2,)], array(6, 4), "pepe", ()),
    "transposed weights": (lambda p, x: p[1] @ jnp.tanh(p[0].T @ x), [(4, 5), (2, 5)], array(6, 4), "pp", ()),
    "positions": (lambda p, x: jnp.tanh(jnp.einsum("td,dhk->thk", x, p[0])).sum(0) @ p[1], [(4, 2, 3), (3, 2)], array(6, 5, 4), "pp", ()),
    "scale and shift": (lambda p, x: jnp.tanh((x - p[0]) / 2 * p[1]) / 3 + p[2] * x, [(4,), (), (4,)], array(6, 4), "eee", ()),
    "by one's own parameter": (lambda p, x: x / p[0] - p[1], [(4,), (4,)], array(6, 4), " e", (0,)),
    "shared": (lambda p, x: jnp.tanh(x @ p[0]) @ p[0].T + p[1], [(4, 5), (4,)], array(6, 4), " e", (0,)),
    "product of parameters": (lambda p, x: x @ (p[0] * p[1]), [(4, 2), (4, 2)], array(6, 4), "  ", (0, 1)),
    "recurrent": (recurrent, [(4, 3), (3, 3), (3,), (3, 2)], array(6, 5, 4), "   p", (0, 1, 2)),
    "convolutions": (convolutional, [(3, 2, 2, 4), (4,), (2, 2, 3, 4)], array(6, 7, 8, 2), "pep", ()),
    "table": (lambda p, x: jnp.take(p[0], x, axis=0).sum(0) @ p[1], [(9, 4), (4, 2)], RANDOM.integers(0, 9, (6, 5)), "lp", ()),
    "table, squared": (lambda p, x: (jnp.asarray(p[0])[x] ** 2).sum(0), [(9, 4)], RANDOM.integers(-9, 9, (6, 5)), "l", ()),
    "inside jit and relu": (lambda p, x: jax.jit(lambda w: jax.nn.relu(x @ w.T))(p[0]) - p[1], [(3, 4), (3,)], array(6, 4), "pe", ()),
    "a rule of its own": (lambda p, x: x @ rounded(p[0]), [(4, 2)], array(6, 4), " ", (0,)),
    "unused": (lambda p, x: x @ p[0], [(4, 2), (3,)], array(6, 4), "p ", ()),
}
LETTERS = {"p": "product", "e": "entrywise", "l": "lookup"}


@pytest.fixture(params=CASES)
def case(request):
    function, shapes, inputs, letters, opaque = CASES[request.param]
    random = np.random.default_rng(1)
    return function, [random.normal(size=shape) for shape in shapes], inputs, letters, opaque


def compute(function, params, inputs):
    """The outputs, the matrices, and what they should be."""

    def rows(z, _):
        return jnp.eye(z.size, dtype=z.dtype).reshape(-1, *z.shape)

    outputs, matrices = jax.jit(lambda p, x: gram_matrices(function, p, x, rows, jnp.zeros(len(x))))(params, inputs)
    jacobians = jax.jit(jax.vmap(jax.jacrev(function), in_axes=(None, 0)))(params, inputs)
    return outputs, matrices, [j.reshape(outputs.size, -1) for j in jacobians]


def test_is_found_and_agrees_with_the_jacobian(case):
    function, params, inputs, letters, opaque = case
    with precision.scope(np.dtype("float64")):
        outputs, matrices, jacobians = compute(function, params, inputs)
        meetings, found_opaque = find_meetings(function, params, inputs[0])
        assert {m.leaf: m.kind for m in meetings} == {leaf: LETTERS[c] for leaf, c in enumerate(letters) if c != " "}
        assert found_opaque == set(opaque)
        np.testing.assert_allclose(outputs, jax.vmap(function, in_axes=(None, 0))(params, inputs), rtol=1e-13)
    for matrix, jacobian in zip(matrices, jacobians, strict=True):
        expected = np.asarray(jacobian) @ np.asarray(jacobian).T
        if matrix is None:
            assert not expected.any()
        else:
            np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["positions", "convolutions", "table"])
def test_slices_change_nothing(name, monkeypatch):
    function, shapes, inputs, _, _ = CASES[name]
    params = [np.random.default_rng(1).normal(size=shape).astype("float32") for shape in shapes]
    inputs = inputs if inputs.dtype.kind == "i" else inputs.astype("float32")
    _, whole, _ = compute(function, params, inputs)
    monkeypatch.setattr(grams, "BLOCK_BYTES", 800)
    _, sliced, _ = compute(function, params, inputs)
    for one, other in zip(whole, sliced, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(one).max())


def test_no_jacobian_is_formed():
    """Dense layers with 3 million parameters and 8 samples: J would take 96 MB."""
    params = [np.ones((3000, 1000), "float32"), np.ones((1000,), "float32"), np.ones((1000, 1), "float32")]

    def function(p, x):
        return jnp.tanh(x @ p[0] + p[1]) @ p[2]

    compiled = (
        jax.jit(lambda p, x: gram_matrices(function, p, x, lambda z, _: jnp.ones((1, *z.shape)), jnp.zeros(len(x)))[1])
        .lower(params, np.ones((8, 3000), "float32"))
        .compile()
    )
    assert compiled.memory_analysis().temp_size_in_bytes < 1e6
