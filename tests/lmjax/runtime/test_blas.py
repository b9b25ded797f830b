"""How many threads the library takes that factorises small matrices."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from lmjax._src.arrays import lapack
from lmjax._src.runtime import blas
from lmjax._src.runtime.bounded_jit import outside_of_transformations, recent
from lmjax._src.runtime.jaxpr_costs import largest_factorisation


def _threads():
    return [
        library.get_num_threads()
        for library in ThreadpoolController().select(user_api="blas").lib_controllers
    ]


@pytest.mark.parametrize(
    "function",
    [
        lapack.cholesky,
        lapack.qr,
        lapack.qr_triangle,
        lapack.eigh,
        lapack.singular_values,
        lambda matrix: lapack.solve_triangle(matrix, matrix[0]),
        lambda matrix: lapack.solve_transposed_triangle(matrix, matrix[0]),
        lambda matrix: lapack.cholesky_solve(matrix, matrix[0]),
        lambda matrix: jax.vmap(lapack.cholesky)(jnp.stack([matrix, matrix])),
        lambda matrix: jax.lax.cond(matrix[0, 0] > 0, lapack.cholesky, jnp.sin, matrix),
        lambda matrix: jax.lax.fori_loop(0, 2, lambda _, matrix: lapack.cholesky(matrix), matrix),
        jax.jacrev(lambda matrix: jnp.sum(lapack.cholesky(matrix))),
    ],
)
def test_every_factorisation_is_found_by_its_size(function):
    assert largest_factorisation(jax.make_jaxpr(function)(jnp.ones((20, 20))).jaxpr) == 20**3
    assert largest_factorisation(jax.make_jaxpr(jnp.sin)(1.0).jaxpr) == 0


@pytest.mark.skipif(
    not outside_of_transformations(),
    reason="this version of JAX does not tell whether a call is part of a trace",
)
@pytest.mark.parametrize(("size", "alone"), [(20, False), (60, True), (512, True), (513, False)])
def test_small_factorisations_take_one_thread_and_set_it_back(size, alone, monkeypatch):
    jnp.linalg.cholesky(jnp.eye(2)).block_until_ready()  # which loads the library
    before, during = _threads(), []
    assert before
    program = recent()(lapack.cholesky)
    matrix = np.eye(size, dtype=np.float32)
    block = jax.block_until_ready
    monkeypatch.setattr(
        jax, "block_until_ready", lambda result: during.append(_threads()) or block(result)
    )
    np.testing.assert_array_equal(np.tril(program(matrix)), matrix)
    assert during == ([[1] * len(before)] if alone else [])
    assert _threads() == before


def test_threads_are_set_back_after_the_last_of_several_and_after_errors():
    jnp.linalg.cholesky(jnp.eye(2)).block_until_ready()
    before, inside, go = _threads(), threading.Event(), threading.Event()

    def other():
        with blas.one_thread():
            inside.set()
            go.wait(60)

    thread = threading.Thread(target=other)

    def fail():
        with blas.one_thread():
            thread.start()
            assert inside.wait(60)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert set(_threads()) == {1}
    go.set()
    thread.join()
    assert _threads() == before
