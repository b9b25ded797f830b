"""JᵀJ from the structure of a model against JᵀJ from J, for the ways in which parameters and data
meet.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax._src.layerwise import normal_plan
from lmjax._src.layerwise.normal_matrix import assembled, normal_sums
from lmjax._src.layerwise.normal_plan import plan_normal
from lmjax._src.runtime import precision
from tests.lmjax.layerwise.test_layerwise import CASES as SMALL
from tests.lmjax.layerwise.test_layerwise import array


def mixed(p, x):
    hidden = jnp.tanh(x @ p[0] + p[1])
    hidden = jnp.tanh(p[2] @ hidden.reshape(2, 3).T.reshape(6) * p[3])
    return hidden @ p[4].reshape(5, 3)


#: as in test_layerwise, without the kinds of uses
CASES = {
    name: (function, shapes, inputs)
    for name, (function, shapes, inputs, _, _) in SMALL.items()
    if "rule" not in name
}
CASES["mixed"] = (mixed, [(4, 6), (6,), (5, 6), (5,), (15,)], array(7, 4))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_jacobian(name, monkeypatch):
    monkeypatch.setattr(normal_plan, "_WORTHWHILE", -np.inf)
    monkeypatch.setattr(normal_plan, "_PER_NUMBER", 0)  # structure wherever there is some
    function, shapes, inputs = CASES[name]
    random = np.random.default_rng(1)
    params, weights = (
        [random.normal(size=shape) for shape in shapes],
        random.normal(size=(len(inputs), 2)),
    )
    sizes = [int(np.prod(shape)) for shape in shapes]

    def unflatten(vector):
        return [
            part.reshape(shape)
            for part, shape in zip(jnp.split(vector, np.cumsum(sizes)[:-1]), shapes, strict=True)
        ]

    def rows(output, weight):
        return jnp.stack(
            [
                jnp.full_like(output, w) * jnp.arange(1, output.size + 1).reshape(output.shape) ** k
                for k, w in enumerate(weight)
            ]
        )

    def residuals(output, weight):
        return jnp.sin(jnp.stack([output.sum(), output.max() * weight[0]]))

    with precision.scope(np.dtype("float64")):
        plan = plan_normal(function, params, inputs[0], 2, len(inputs))
        flat = np.concatenate([leaf.ravel() for leaf in params])
        outputs = jax.vmap(function, in_axes=(None, 0))(params, inputs)
        jacobian = jax.vmap(
            lambda x, z, w: jnp.tensordot(
                rows(z, w).reshape(2, -1),
                jax.jacrev(lambda v: function(unflatten(v), x).ravel())(flat),
                1,
            )
        )(inputs, outputs, weights).reshape(-1, flat.size)
        errors = jax.vmap(residuals)(outputs, weights).ravel()
        if plan is None:
            assert name not in {"dense", "mixed", "transposed weights", "inside jit and relu"}
            return
        found, blocks, gradient = jax.jit(
            lambda p, x, w: normal_sums(plan, function, p, x, rows, w, residuals, None, p[0].dtype)
        )(params, inputs, weights)
        matrix = assembled(plan, blocks)
        np.testing.assert_allclose(found, outputs, rtol=1e-13)
        np.testing.assert_allclose(
            matrix, jacobian.T @ jacobian, rtol=0, atol=1e-12 * np.abs(matrix).max()
        )
        np.testing.assert_allclose(
            gradient, errors @ jacobian, rtol=0, atol=1e-12 * np.abs(gradient).max()
        )


def chosen(sizes, samples, outputs=None):
    """The kernels that are taken by their structure in a network of dense layers of these sizes."""
    shapes = [
        shape for one, other in itertools.pairwise(sizes) for shape in ((one, other), (other,))
    ]

    def network(p, x):
        for kernel, bias in zip(p[:-2:2], p[1:-2:2], strict=True):
            x = jnp.tanh(x @ kernel + bias)
        return x @ p[-2] + p[-1]

    params = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    plan = plan_normal(
        network, params, jax.ShapeDtypeStruct(sizes[:1], jnp.float32), sizes[-1], samples
    )
    return None if plan is None else [kernel.leaf // 2 for kernel in plan.kernels]


def test_the_cheaper_way_is_chosen():
    assert chosen((1, 20, 1), 20_000) is None  # a narrow J is cheaper than its pairs of columns
    assert chosen((8, 40, 40, 1), 100) is None  # not worth a larger program
    assert chosen((8, 40, 40, 1), 10_000) == [1]
    assert chosen((64, 50, 10), 1400) == [0, 1]  # ten rows of J a sample become one


def test_memory_is_that_of_the_plan():
    """Ten outputs and 4 000 parameters: J of 2 000 samples would take 320 MB."""
    sizes, samples = (64, 50, 10), 2000
    shapes = [(64, 50), (50,), (50, 10), (10,)]

    def network(p, x):
        return jnp.tanh(x @ p[0] + p[1]) @ p[2] + p[3]

    params = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    plan = plan_normal(network, params, jax.ShapeDtypeStruct(sizes[:1], jnp.float32), 10, samples)

    def compute(p, x, y):
        eye = jnp.eye(10)
        return assembled(
            plan,
            normal_sums(
                plan, network, p, x, lambda z, _: eye, y, lambda z, t: z - t, None, p[0].dtype
            )[1],
        )

    data = [jax.ShapeDtypeStruct((samples, size), jnp.float32) for size in (64, 10)]
    memory = jax.jit(compute).lower(params, *data).compile().memory_analysis().temp_size_in_bytes
    assert memory < 3 * samples * plan.numbers * 4 + 3 * 4 * 3760**2
    assert plan.numbers < 10 * 3760
