"""The fast linearization against the dense, obviously right one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmjax._src.arrays.structure import Structure
from lmjax._src.layerwise import normal_plan
from lmjax._src.layerwise.layerwise_dual import LayerwiseDual
from lmjax._src.objectives import mean_loss
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.objectives.rows import Rows, over_chunks
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

N = 13


def network(params, x):
    hidden = jnp.tanh(x @ params["in"] + params["bias"])
    return hidden @ params["out"]


def with_link(link):
    return lambda params, x: link(network(params, x))


CASES = {
    "mse": (network, MeanSquaredError(), lambda g: g.normal(size=(N, 3))),
    "binary": (
        with_link(jax.nn.sigmoid),
        BinaryCrossentropy(),
        lambda g: g.integers(0, 2, (N, 3)).astype(float),
    ),
    "binary logits": (network, BinaryCrossentropy(from_logits=True), lambda g: g.random((N, 3))),
    "categorical": (
        with_link(jax.nn.softmax),
        CategoricalCrossentropy(),
        lambda g: np.eye(3)[g.integers(0, 3, N)],
    ),
    "sparse": (
        with_link(jax.nn.softmax),
        SparseCategoricalCrossentropy(),
        lambda g: g.integers(0, 3, N),
    ),
    "sparse logits": (
        network,
        SparseCategoricalCrossentropy(from_logits=True),
        lambda g: g.integers(0, 3, N),
    ),
}


def make(case, weighted=False, l2=None, jacobian="auto"):
    generator = np.random.default_rng(1)
    model, loss, targets = CASES[case]
    params = {
        "in": generator.normal(size=(2, 4)),
        "bias": generator.normal(size=4),
        "out": generator.normal(size=(4, 3)),
    }
    structure = Structure.of(params)
    weights = jnp.asarray(generator.random(N)) if weighted else None
    rows = Rows(
        jnp.asarray(generator.normal(size=(N, 2))), jnp.asarray(targets(generator)), weights
    )
    objective = SupervisedObjective(
        rows,
        jax.tree_util.Partial(model),
        None if l2 is None else Penalty(l2),
        loss,
        structure,
        jacobian,
    )
    return objective, structure.flatten(params)


def dense_oracle(objective, params):
    """Cost, gradient and generalized Gauss-Newton matrix with everything written out."""

    def cost(p):
        outputs = objective.model(objective.structure.unflatten(p), objective.rows.inputs)
        weights = np.ones(N) if objective.rows.weights is None else objective.rows.weights
        losses = jnp.stack(
            [objective.loss.value(outputs[i], objective.rows.targets[i]) for i in range(N)]
        )
        penalty = 0 if objective.penalty is None else jnp.sum(objective.penalty.l2 * p**2)
        return jnp.sum(losses * weights) / N + penalty

    jacobian = jax.jacfwd(
        lambda p: objective.model(objective.structure.unflatten(p), objective.rows.inputs)
    )(params)
    outputs = objective.model(objective.structure.unflatten(params), objective.rows.inputs)
    matrix = 0 if objective.penalty is None else 2 * jnp.diag(objective.penalty.l2)
    for i in range(N):
        root = jax.vmap(
            lambda unit, i=i: objective.loss.root_product(
                outputs[i], objective.rows.targets[i], unit
            ),
            out_axes=1,
        )(jnp.eye(3))
        weight = 1 if objective.rows.weights is None else objective.rows.weights[i]
        matrix = matrix + weight / N * jacobian[i].T @ root @ root.T @ jacobian[i]
    return cost(params), jax.grad(cost)(params), matrix


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["forward", "reverse", "layers"])
@pytest.mark.parametrize(
    "chunk_bytes",
    [2**30, 3 * 24 * 8 * 5, 1],
    ids=["one chunk", "five rows a chunk", "one row a chunk"],
)
def test_linearization_matches_the_oracle(case, way, chunk_bytes, monkeypatch):
    monkeypatch.setattr(mean_loss, "CHUNK_BYTES", chunk_bytes)
    if way == "layers":
        monkeypatch.setattr(normal_plan, "_WORTHWHILE", -np.inf)
    with jax.enable_x64(True):
        l2 = jnp.linspace(0, 0.1, 24)
        objective, params = make(
            case, weighted=True, l2=l2, jacobian="auto" if way == "layers" else way
        )
        assert (objective.normal_plan(params) is None) == (way != "layers")
        linearization = jax.jit(lambda o, p: o.linearize(p, Form.NORMAL))(objective, params)
        cost, gradient, matrix = dense_oracle(objective, params)
        np.testing.assert_allclose(linearization.cost, cost, rtol=1e-12)
        np.testing.assert_allclose(linearization.gradient, gradient, atol=1e-12)
        np.testing.assert_allclose(linearization.curvature.matrix, matrix, atol=1e-12)
        values = objective.evaluate(params)
        np.testing.assert_allclose(objective.cost(values), cost, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("by_arrays", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_dual_form_matches_the_oracle(case, by_arrays):
    with jax.enable_x64(True):
        l2 = jnp.repeat(jnp.array([0.1, 0.0, 0.3]), jnp.array([4, 8, 12]))
        objective, params = make(case, weighted=True, l2=l2)
        cost, gradient, matrix = dense_oracle(objective, params)
        random = np.random.default_rng(3)
        numbers = jnp.asarray(random.random(3))
        weights = jnp.repeat(numbers, jnp.array([4, 8, 12]))
        v, u = random.normal(size=24), random.normal(size=3 * N)
        structure = objective.structure
        given, flatten = (
            (structure.split, structure.flatten) if by_arrays else (jnp.asarray, jnp.asarray)
        )
        diagonal_weights = numbers if by_arrays else weights

        @jax.jit
        def compute(objective, params, v, u):
            linearization = (objective.by_arrays() if by_arrays else objective).linearize(
                given(params), Form.DUAL
            )
            dual, source = linearization.curvature, linearization.source
            assert isinstance(dual, LayerwiseDual) == by_arrays
            whole = flatten(dual.pull(source.rows)) + flatten(source.rest)
            found = (
                linearization.cost,
                flatten(linearization.gradient),
                linearization.diagonal,
                whole,
            )
            weighted = flatten(dual.pull(u, diagonal_weights)), linearization.slope(given(v))
            products = (
                dual.gram(diagonal_weights),
                dual.push(given(v)),
                flatten(dual.pull(u)),
                flatten(dual.product(given(v))),
                *weighted,
            )
            return found, products, jax.vmap(lambda u: flatten(dual.pull(u)))(jnp.eye(u.size))

        (
            (found_cost, found_gradient, diagonal, source),
            (gram, push, pull, product, weighted, slope),
            jacobian,
        ) = compute(objective, params, v, u)
        np.testing.assert_allclose(jacobian.T @ jacobian + 2 * jnp.diag(l2), matrix, atol=1e-12)
        np.testing.assert_allclose(found_cost, cost, rtol=1e-12)
        np.testing.assert_allclose(found_gradient, gradient, atol=1e-12)
        np.testing.assert_allclose(source, gradient, atol=1e-12)
        np.testing.assert_allclose(gram, jacobian * weights @ jacobian.T, atol=1e-12)
        np.testing.assert_allclose(push, jacobian @ v, atol=1e-12)
        np.testing.assert_allclose(pull, jacobian.T @ u, atol=1e-12)
        np.testing.assert_allclose(product, matrix @ v, atol=1e-12)
        np.testing.assert_allclose(weighted, weights * (jacobian.T @ u), atol=1e-12)
        np.testing.assert_allclose(slope, gradient @ v, atol=1e-12)
        exact = jnp.diagonal(matrix)
        means = jnp.array([part.mean() for part in jnp.split(exact, [4, 12])])
        np.testing.assert_allclose(diagonal, means if by_arrays else exact, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_curvature_gradient_matches_finite_differences(case, monkeypatch):
    monkeypatch.setattr(mean_loss, "CHUNK_BYTES", 3 * 24 * 8 * 5)
    with jax.enable_x64(True):
        objective, params = make(case, weighted=True)
        velocity = jnp.asarray(np.random.default_rng(2).normal(size=params.size))

        def outputs(p):
            return objective.model(objective.structure.unflatten(p), objective.rows.inputs)

        h = 1e-4
        second = (
            outputs(params + h * velocity) - 2 * outputs(params) + outputs(params - h * velocity)
        ) / h**2
        jacobian = jax.jacfwd(outputs)(params)
        expected = 0
        for i in range(N):
            root = jax.vmap(
                lambda u, i=i: objective.loss.root_product(
                    outputs(params)[i], objective.rows.targets[i], u
                ),
                out_axes=1,
            )(jnp.eye(3))
            expected = (
                expected + objective.rows.weights[i] / N * jacobian[i].T @ root @ root.T @ second[i]
            )
        np.testing.assert_allclose(
            objective.curvature_gradient(params, velocity, Form.NORMAL).rest,
            expected,
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 30), chunk=st.integers(1, 40))
def test_over_chunks_counts_every_row_once(rows, chunk):
    data = jnp.arange(1.0, rows + 1)

    def body(piece, fresh):
        return jnp.sum(piece if fresh is None else jnp.where(fresh, piece, 0)), piece**2

    total, squares = over_chunks(body, data, rows, chunk)
    assert float(total) == rows * (rows + 1) / 2
    np.testing.assert_array_equal(squares, data**2)


def test_memory_does_not_grow_with_the_rows():
    """The temporaries of a linearization grow at most by a copy of the data, not by the
    Jacobian.
    """
    objective, params = make("mse")
    sizes = {}
    for rows in (1_600_000, 6_400_000):
        many = Rows(
            jax.ShapeDtypeStruct((rows, 2), jnp.float32),
            jax.ShapeDtypeStruct((rows, 3), jnp.float32),
            None,
        )
        program = jax.jit(lambda o, p: o.linearize(p, Form.NORMAL)[2:]).lower(
            SupervisedObjective(many, objective.model, None, objective.loss, objective.structure),
            jax.ShapeDtypeStruct(params.shape, jnp.float32),
        )
        sizes[rows] = program.compile().memory_analysis().temp_size_in_bytes
    # A row of data and its loss take 24 bytes, its rows of J 288.
    assert sizes[6_400_000] - sizes[1_600_000] < 40 * 4_800_000
