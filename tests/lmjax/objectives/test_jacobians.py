"""Jacobians in every mode, chunk and precision, against dense ones; and which mode is chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.objectives.jacobians import Jacobians, _fitting_chunk, _is_forward_cheaper

RANDOM = np.random.default_rng(5)
WEIGHTS = RANDOM.normal(size=(7, 5))


def function(params):
    return jnp.tanh(WEIGHTS @ params) * params[0]


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("chunk", [None, 1, 3, 100])
def test_every_way_gives_the_same(mode, chunk):
    with jax.enable_x64(True):
        params = jnp.linspace(0.1, 1, 5)
        values, jacobian = Jacobians(mode, chunk).compute(function, params)
        np.testing.assert_allclose(values, function(params), rtol=1e-14)
        np.testing.assert_allclose(jacobian, jax.jacfwd(function)(params), rtol=1e-13)


def test_chunks_bound_the_memory():
    """Of a function with a large array on the way, by the compiled programs' own figures."""

    def wide(params):
        return jnp.ravel(jnp.tanh(jnp.outer(params, jnp.arange(2_000.0))) @ jnp.ones((2_000, 2)))

    params = jnp.ones(64)
    whole, chunked = (
        jax.jit(lambda p, chunk=chunk: Jacobians("forward", chunk).compute(wide, p)[1])
        .lower(params)
        .compile()
        .memory_analysis()
        for chunk in (64, 4)
    )
    assert chunked.temp_size_in_bytes < 0.3 * whole.temp_size_in_bytes
    assert _fitting_chunk(jax.make_jaxpr(wide)(params).jaxpr, params) == 2**27 // (64 * 2_000 * 4)


@pytest.mark.parametrize(
    ("rows", "columns", "forward"),
    [(100, 3, True), (3, 100, False), (10, 10, True), (40, 30, True), (30, 40, False)],
)
def test_the_cheaper_mode_is_chosen(rows, columns, forward):
    matrix = np.ones((rows, columns), np.float32)
    assert _is_forward_cheaper(lambda p: matrix @ p, jnp.ones(columns), rows) is forward


X = np.linspace(0, 3, 60)
Y = 2.5 * np.exp(-1.3 * X) + 0.4 + 0.02 * np.sin(9 * X)


def decay(params, x, y):
    return params["a"] * jnp.exp(-params["b"] * x) + params["c"] - y


START = {"a": 1.0, "b": 0.5, "c": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"linear_solver": lmjax.Cholesky(), "loss": "linear"},
        {"linear_solver": lmjax.QR(), "loss": "soft_l1"},
        {"linear_solver": lmjax.DualCholesky(), "loss": "linear"},
    ],
    ids=["cholesky", "qr and a robust loss", "dual"],
)
def test_mixed_precision_keeps_the_digits(options):
    """Single derivatives in the steps, as the program shows, and a solution and statistics as in
    double precision throughout.
    """
    loss, linear_solver = options["loss"], options["linear_solver"]
    mixed = lmjax.LevenbergMarquardt(
        jacobian_dtype="float32", linear_solver=linear_solver, polish=False
    )
    found = lmjax.least_squares(decay, START, (X, Y), solver=mixed, loss=loss)
    expected = lmjax.least_squares(decay, START, (X, Y), loss=loss)
    assert found.status.success
    for name in START:
        np.testing.assert_allclose(found.params[name], expected.params[name], rtol=1e-8)
    np.testing.assert_allclose(found.covariance(), expected.covariance(), rtol=1e-6)


def test_mixed_precision_computes_the_jacobian_in_single():
    with jax.enable_x64(True):
        solver = lmjax.LevenbergMarquardt(jacobian_dtype="float32", geodesic_acceleration=False)
        start = jax.tree.map(jnp.asarray, START)
        program = str(
            jax.make_jaxpr(
                lambda p: solver.step(
                    decay, p, solver.init(decay, p), (jnp.asarray(X), jnp.asarray(Y))
                )
            )(start)
        )
    assert "f32[60,3]" in program or "f32[3,60]" in program


@pytest.mark.parametrize("options", [{"jacobian_chunk": 0}, {"jacobian_dtype": "float16"}])
def test_wrong_options_are_named(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=name):
        lmjax.LevenbergMarquardt(**options)


@pytest.mark.parametrize("options", [{"jacobian_chunk": 4}, {"jacobian_dtype": "float32"}])
def test_fits_of_models_refuse_them(options):
    x = np.ones((4, 1))
    with pytest.raises(ValueError, match=next(iter(options))):
        lmjax.fit(
            lambda p, x: x * p,
            np.ones(1),
            x,
            x,
            solver=lmjax.LevenbergMarquardt(**options),
            epochs=1,
        )
