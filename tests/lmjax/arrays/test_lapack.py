"""LAPACK in batches: as one by one, however batches are nested, with derivatives, and without
threads that wait for each other forever.
"""

import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax._src.arrays import lapack

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(2, 3, 7, 5))
SQUARES = np.einsum("...mi,...mj->...ij", ROWS, ROWS)
TRIANGLES = np.linalg.cholesky(SQUARES)
TARGETS = RANDOM.normal(size=(2, 3, 5))


def solved(matrices, targets):
    return np.linalg.solve(matrices, targets[..., None])[..., 0]


CASES = {
    "cholesky": (lambda a: jnp.tril(lapack.cholesky(a)), (SQUARES,), TRIANGLES),
    "cholesky_solve": (lapack.cholesky_solve, (TRIANGLES, TARGETS), solved(SQUARES, TARGETS)),
    "qr": (lambda a: jnp.matmul(*lapack.qr(a)), (ROWS,), ROWS),
    "qr_triangle": (lambda a: (lambda r: r.T @ r)(lapack.qr_triangle(a)), (ROWS,), SQUARES),
    "solve_triangle": (
        lapack.solve_triangle,
        (TRIANGLES.swapaxes(2, 3), TARGETS),
        solved(TRIANGLES.swapaxes(2, 3), TARGETS),
    ),
    "solve_transposed_triangle": (
        lapack.solve_transposed_triangle,
        (TRIANGLES.swapaxes(2, 3), TARGETS),
        solved(TRIANGLES, TARGETS),
    ),
    "eigh": (lambda a: (lambda w, v: (v * w) @ v.T)(*lapack.eigh(a)), (SQUARES,), SQUARES),
    "singular_values": (lapack.singular_values, (ROWS,), np.linalg.svd(ROWS, compute_uv=False)),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_numpy(name):
    function, arrays, expected = CASES[name]
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            function(*(a[0, 0] for a in arrays)), expected[0, 0], rtol=1e-10, atol=1e-10
        )
        np.testing.assert_allclose(
            jax.vmap(jax.vmap(function))(*arrays), expected, rtol=1e-10, atol=1e-10
        )


def largest_batch(jaxpr):
    """Of any Cholesky factorisation in a program."""
    largest = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "cholesky":
            largest = max(largest, math.prod(equation.invars[0].aval.shape[:-2]))
        for inner in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda leaf: hasattr(leaf, "jaxpr") or hasattr(leaf, "eqns"),
        ):
            if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                largest = max(largest, largest_batch(getattr(inner, "jaxpr", inner)))
    return largest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "expected"), [(27, 1), (28, 1), (82, 3), (200, 7), (27 * 14 + 1, 14), (10_000, 28)]
)
def test_groups_are_as_large_as_they_may_be(share, expected, monkeypatch):
    """Of nested batches too; with the derivatives of the function itself."""
    monkeypatch.setattr(lapack, "_SHARED", share)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    grouped = lapack._in_groups(lambda shape: shape[-1] ** 3, jnp.linalg.cholesky)
    root = RANDOM.normal(size=(4, 7, 3, 3))
    matrices = root @ root.swapaxes(2, 3) + np.eye(3)
    with jax.enable_x64(True):
        program = jax.jit(jax.vmap(jax.vmap(grouped)))
        assert largest_batch(jax.make_jaxpr(program)(matrices).jaxpr) == expected
        np.testing.assert_allclose(program(matrices), np.linalg.cholesky(matrices), rtol=1e-12)
        for derivative in (jax.grad, jax.jacfwd, jax.hessian):
            found, plain = (
                jax.jit(jax.vmap(jax.vmap(derivative(lambda m, f=function: jnp.sum(f(m) ** 3)))))(
                    matrices
                )
                for function in (grouped, jnp.linalg.cholesky)
            )
            np.testing.assert_allclose(found, plain, rtol=1e-9, atol=1e-12)


_THREADS = """
import threading
import jax, jax.numpy as jnp, numpy as np, lmjax

x = np.linspace(-5, 5, 64).astype("float32")

def batch(size, lanes):
    centres = np.linspace(-4, 4, size).astype("float32")
    y = np.random.default_rng(0).normal(size=(lanes, size)) @ np.exp(-0.5 * (x - centres[:, None]) ** 2)

    def fit(y):
        bells = jnp.exp(-0.5 * (x - centres[:, None]) ** 2)
        solution = lmjax.least_squares(lambda p, y: jnp.tanh(p) @ bells - y, np.full(size, 0.1, "float32"), (y,))
        return solution.params, solution.standard_errors(), solution.condition()

    return jax.jit(jax.vmap(fit)), y.astype("float32")

wide, y = batch(30, 200)  # one thread is enough
jax.block_until_ready(wide(y))
whole, y = batch(12, 1000)
threads = [threading.Thread(target=lambda: jax.block_until_ready(whole(y))) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("fine")
"""


@pytest.mark.slow
def test_batches_in_several_threads_end():
    run = subprocess.run(
        [sys.executable, "-c", _THREADS],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert run.stdout.strip() == "fine", run.stderr
