"""J Jᵀ from the structure of a model against J Jᵀ from J, for the ways in which parameters and data
meet.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax._src.layerwise import contractions
from lmjax._src.layerwise.gram_matrices import gram_matrices
from lmjax._src.layerwise.parameter_uses import find_parameter_uses
from lmjax._src.runtime import precision

RANDOM = np.random.default_rng(0)


def array(*shape):
    return RANDOM.normal(size=shape)


def recurrent(p, x):
    def cell(h, x_t):
        h = jnp.tanh(x_t @ p[0] + h @ p[1] + p[2])
        return h, h

    return jax.lax.scan(cell, jnp.zeros(3, x.dtype), x)[0] @ p[3]


def convolutional(p, x):
    hidden = jax.lax.conv_general_dilated(
        x[None],
        p[0],
        (2, 1),
        "SAME",
        rhs_dilation=(1, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    hidden = jax.lax.conv_general_dilated(
        jnp.tanh(hidden + p[1]),
        p[2],
        (1, 1),
        [(1, 1), (1, 1)],
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )
    return hidden.mean((1, 2))[0]


def gated(p, x):
    """A recurrence whose gates take slices of one kernel, the last one beside another operand
    (Keras' GRU, reset first).
    """

    def cell(h, x_t):
        z, r = jnp.split(jax.nn.sigmoid(x_t[:6] + h @ p[1][:, :6]), 2)
        h = z * h + (1 - z) * jnp.tanh(x_t[6:] + (r * h) @ p[1][:, 6:] + p[2])
        return h, h

    return jax.lax.scan(cell, jnp.ones(3, x.dtype), x @ p[0], reverse=True)[1].sum(0)


def nested_loops(p, x):
    def outer(h, row):
        inner = jax.lax.scan(lambda g, x_t: (jnp.tanh(g @ p[0] + x_t * p[1]), ()), h, row)[0]
        return inner, jnp.take(p[2], jnp.array([1, 3]), axis=0).sum()

    last, sums = jax.lax.scan(outer, jnp.ones(3, x.dtype), x)
    return last * sums.sum()


def carried(p, x):
    """Parameters that a loop starts from, or takes one row of in each turn: without a rule."""
    return jax.lax.scan(lambda h, w: (jnp.tanh(x @ w + h), ()), p[0], p[1])[0]


def grouped(p, x):
    """Two groups, then one for each channel, then products of every head by itself."""
    options = {"padding": "SAME", "dimension_numbers": ("NHC", "HIO", "NHC")}
    hidden = jnp.tanh(
        jax.lax.conv_general_dilated(x[None], p[0], (1,), feature_group_count=2, **options)
    )
    hidden = jnp.tanh(
        jax.lax.conv_general_dilated(hidden, p[1], (2,), feature_group_count=4, **options)
    )
    return jnp.einsum("thd,hde->e", hidden[0].reshape(-1, 2, 2), p[2])


@jax.custom_jvp
def rounded(w):
    return jnp.round(w)


# Straight through: not the derivative.
rounded.defjvp(lambda primals, tangents: (rounded(*primals), tangents[0]))


#: name: (function of (params, x), shapes of params, inputs, kinds of uses by parameter,
#: parameters that are opaque)
CASES = {
    "dense": (
        lambda p, x: jnp.tanh(x @ p[0] + p[1]) @ p[2] + p[3],
        [(4, 5), (5,), (5, 2), (2,)],
        array(6, 4),
        "pepe",
        (),
    ),
    "transposed weights": (
        lambda p, x: p[1] @ jnp.tanh(p[0].T @ x),
        [(4, 5), (2, 5)],
        array(6, 4),
        "pp",
        (),
    ),
    "positions": (
        lambda p, x: jnp.tanh(jnp.einsum("td,dhk->thk", x, p[0])).sum(0) @ p[1],
        [(4, 2, 3), (3, 2)],
        array(6, 5, 4),
        "pp",
        (),
    ),
    "scale and shift": (
        lambda p, x: jnp.tanh((x - p[0]) / 2 * p[1]) / 3 + p[2] * x,
        [(4,), (), (4,)],
        array(6, 4),
        "eee",
        (),
    ),
    "by one's own parameter": (lambda p, x: x / p[0] - p[1], [(4,), (4,)], array(6, 4), " e", (0,)),
    "shared": (
        lambda p, x: jnp.tanh(x @ p[0]) @ p[0].T + p[1],
        [(4, 5), (4,)],
        array(6, 4),
        " e",
        (0,),
    ),
    "product of parameters": (
        lambda p, x: x @ (p[0] * p[1]),
        [(4, 2), (4, 2)],
        array(6, 4),
        "  ",
        (0, 1),
    ),
    "recurrent": (recurrent, [(4, 3), (3, 3), (3,), (3, 2)], array(6, 5, 4), "ppep", ()),
    "gates": (gated, [(4, 9), (3, 9), (3,)], array(6, 5, 4), "ppe", ()),
    "loops in loops": (nested_loops, [(3, 3), (3,), (4, 2)], array(6, 2, 4, 3), "pel", ()),
    "carried": (carried, [(3,), (2, 4, 3)], array(6, 4), "  ", (0, 1)),
    "returned": (lambda p, x: p[0].T, [(3, 2)], array(6, 4), " ", (0,)),
    "grouped convolutions": (grouped, [(3, 2, 4), (3, 1, 4), (2, 2, 3)], array(6, 7, 4), "ppp", ()),
    "convolutions": (
        convolutional,
        [(3, 2, 2, 4), (4,), (2, 2, 3, 4)],
        array(6, 7, 8, 2),
        "pep",
        (),
    ),
    "table": (
        lambda p, x: jnp.take(p[0], x, axis=0).sum(0) @ p[1],
        [(9, 4), (4, 2)],
        RANDOM.integers(0, 9, (6, 5)),
        "lp",
        (),
    ),
    "table, squared": (
        lambda p, x: (jnp.asarray(p[0])[x] ** 2).sum(0),
        [(9, 4)],
        RANDOM.integers(-9, 9, (6, 5)),
        "l",
        (),
    ),
    "inside jit and relu": (
        lambda p, x: jax.jit(lambda w: jax.nn.relu(x @ w.T))(p[0]) - p[1],
        [(3, 4), (3,)],
        array(6, 4),
        "pe",
        (),
    ),
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

    def both(p, x):
        return gram_matrices(function, p, x, rows, jnp.zeros(len(x)), p[0].dtype), jax.vmap(
            jax.jacrev(function), in_axes=(None, 0)
        )(p, x)

    (outputs, matrices), jacobians = jax.jit(both)(params, inputs)
    return outputs, matrices, [j.reshape(outputs.size, -1) for j in jacobians]


def test_is_found_and_agrees_with_the_jacobian(case):
    function, params, inputs, letters, opaque = case
    with precision.scope(np.dtype("float64")):
        outputs, matrices, jacobians = compute(function, params, inputs)
        uses, found_opaque = find_parameter_uses(function, params, inputs[0])
        assert {m.leaf: m.kind for m in uses} == {
            leaf: LETTERS[c] for leaf, c in enumerate(letters) if c != " "
        }
        assert found_opaque == set(opaque)
        np.testing.assert_allclose(outputs[0], function(params, inputs[0]), rtol=1e-12)
    for matrix, jacobian in zip(matrices, jacobians, strict=True):
        expected = np.asarray(jacobian) @ np.asarray(jacobian).T
        if matrix is None:
            assert not expected.any()
        else:
            np.testing.assert_allclose(
                matrix, expected, rtol=0, atol=1e-12 * np.abs(expected).max()
            )


@pytest.mark.parametrize(
    "name", ["positions", "convolutions", "grouped convolutions", "table", "gates", "shared"]
)
def test_slices_change_nothing(name, monkeypatch):
    function, shapes, inputs, _, _ = CASES[name]
    params = [np.random.default_rng(1).normal(size=shape).astype("float32") for shape in shapes]
    inputs = inputs if inputs.dtype.kind == "i" else inputs.astype("float32")
    _, whole, _ = compute(function, params, inputs)
    monkeypatch.setattr(contractions, "BLOCK_BYTES", 800)
    _, sliced, _ = compute(function, params, inputs)
    for one, other in zip(whole, sliced, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(one).max())


def lstm(p, x):
    def cell(state, x_t):
        h, c = state
        i, f, g, o = jnp.split(x_t + h @ p[1] + p[2], 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), ()

    zeros = jnp.zeros(p[1].shape[0], x.dtype)
    return jax.lax.scan(cell, (zeros, zeros), x @ p[0])[0][0] @ p[3]


def two_convolutions(p, x):
    numbers = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    hidden = jnp.tanh(jax.lax.conv_general_dilated(x[None], p[0], (2, 2), **numbers) + p[1])
    return (
        jnp.tanh(jax.lax.conv_general_dilated(hidden, p[2], (2, 2), **numbers)).mean((1, 2))[0]
        @ p[3]
    )


def tied(p, x):
    return (jnp.tanh(jnp.tanh(x @ p[0]) @ p[0].T @ p[1]) @ p[1].T).sum(keepdims=True)


MEMORY_CASES = {
    "dense": (
        lambda p, x: jnp.tanh(x @ p[0] + p[1]) @ p[2],
        [(3000, 1000), (1000,), (1000, 1)],
        (8, 3000),
    ),
    "LSTM": (lstm, [(32, 1600), (400, 1600), (1600,), (400, 1)], (48, 5, 32)),
    "convolutions": (
        two_convolutions,
        [(5, 5, 3, 64), (64,), (5, 5, 64, 256), (256, 1)],
        (48, 8, 8, 3),
    ),
    "opaque": (tied, [(500, 600), (500, 600)], (32, 500)),
}


@pytest.mark.parametrize("name", MEMORY_CASES)
def test_no_jacobian_is_formed(name, monkeypatch):
    """With blocks of at most a twentieth of J, what the compiled program needs is a fraction of J,
    whatever the layers.
    """
    function, shapes, inputs = MEMORY_CASES[name]
    params = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    jacobian = 4 * inputs[0] * sum(leaf.size for leaf in params)
    monkeypatch.setattr(contractions, "BLOCK_BYTES", jacobian // 20)
    compute = jax.jit(
        lambda p, x: gram_matrices(
            function, p, x, lambda z, _: jnp.ones((1, *z.shape)), jnp.zeros(len(x)), p[0].dtype
        )[1]
    )
    memory = (
        compute.lower(params, jax.ShapeDtypeStruct(inputs, jnp.float32)).compile().memory_analysis()
    )
    assert memory.temp_size_in_bytes < jacobian / 8
