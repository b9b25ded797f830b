"""In single precision every form's steps are those of the Jacobian, though JᵀJ and J Jᵀ square its
singular values.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.arrays.arguments import as_pytree_callable
from lmjax._src.arrays.structure import Structure
from lmjax._src.layerwise import normal_plan
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import precision
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.training.streaming.sources import ArraySource
from lmjax._src.training.streaming.stream import Stream
from lmjax.losses import BinaryCrossentropy, MeanSquaredError

pytestmark = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="sums in double are for processors"
)

MSE = MeanSquaredError()


def network(params, x):
    for kernel, bias in params[:-1]:
        x = jnp.tanh(x @ kernel + bias)
    kernel, bias = params[-1]
    return x @ kernel + bias


def objective_of(rows, loss=MSE, l2=None, seed=0):
    random = np.random.default_rng(seed)
    sizes = (1, 10, 10, 1)
    params = [
        (
            random.normal(size=(one, other)).astype("float32"),
            random.normal(size=other).astype("float32"),
        )
        for one, other in itertools.pairwise(sizes)
    ]
    x = np.linspace(-1, 1, rows, dtype="float32")[:, None]
    y = (
        (np.sinc(5 * x) > 0.2).astype("float32")
        if isinstance(loss, BinaryCrossentropy)
        else np.sinc(5 * x)
    )
    structure = Structure.of(params)
    penalty = None if l2 is None else Penalty(jnp.full(structure.size, l2, jnp.float32))
    return SupervisedObjective(
        Rows(x, y, None),
        as_pytree_callable(network, "model_fn"),
        penalty,
        loss,
        structure,
        layerwise=True,
    ), params


def step_of(solver, objective, params, damping):
    """The step with a damping of all parameters alike, the gradient and the diagonal; params are an
    array, or a list of arrays.
    """
    linearization = objective.linearize(params, solver.form)
    ones = jnp.ones(linearization.diagonal.shape, jnp.float32)
    step = solver.solve(
        solver.factor(linearization, jnp.float32(damping), ones), linearization.source
    )
    return step, linearization.gradient, linearization.diagonal


def oracle(objective, flat):
    """J, the residuals and their squared largest singular value, in double; J is that of single
    precision.
    """
    rows = jax.jit(lambda p: objective.linearize(p, Form.JACOBIAN))(flat)
    jacobian, residuals = (
        np.asarray(rows.curvature.jacobian, float),
        np.asarray(rows.source.rows, float),
    )
    return jacobian, residuals, np.linalg.norm(jacobian, 2) ** 2


def shortfall(step, jacobian, residuals, flat, damping, l2):
    """By how much less a step lowers the damped model than the best one does, as a part of that; by
    QR in double, of J and r alone.
    """
    ridge = 2 * float(np.float32(l2 or 0))
    below = np.sqrt(ridge + float(np.float32(damping)))
    matrix = np.vstack([jacobian, below * np.eye(flat.size)])
    target = np.concatenate([residuals, ridge * flat / below])
    triangle = np.linalg.qr(matrix, mode="r")
    best = np.linalg.lstsq(matrix, -target, rcond=None)[0]
    most = np.linalg.norm(triangle @ best) ** 2
    return np.linalg.norm(triangle @ (np.asarray(step, float) - best)) ** 2 / most


#: Of the largest squared singular value: what single precision cannot tell from zero in JᵀJ, and
#: easily in J.
LITTLE = 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("form", ["normal", "layers", "dual", "dual by layers", "stream"])
@pytest.mark.parametrize(
    "loss", [MSE, BinaryCrossentropy(from_logits=True)], ids=["mse", "crossentropy"]
)
@pytest.mark.parametrize("l2", [None, 1e-6])
def test_steps_are_those_of_the_jacobian(form, loss, l2, monkeypatch):
    if form == "layers":
        monkeypatch.setattr(normal_plan, "_WORTHWHILE", -np.inf)
    objective, params = objective_of(40 if "dual" in form else 300, loss, l2)
    structure, solver = (
        objective.structure,
        lmjax.DualCholesky() if "dual" in form else lmjax.Cholesky(),
    )
    with precision.scope("float32"), precision.highest():
        flat = jnp.asarray(structure.flatten_concrete(params, np.float32))
        assert (objective.normal_plan(flat) is not None) == (form == "layers")
        jacobian, residuals, largest = oracle(objective, flat)
        damping = LITTLE * largest
        errors = []
        for in_double in (True, False):
            used, point = objective.summed(in_double), flat
            if form == "stream":
                source = ArraySource(objective.rows.inputs, objective.rows.targets, None)
                stream = Stream(
                    source,
                    objective.model,
                    params,
                    loss,
                    np.dtype("float32"),
                    ("x", "y", "sample_weight"),
                ).rechunked(64)
                step, gradient, diagonal = step_of(
                    solver, StreamedObjective(used, stream), flat, damping
                )
            else:
                if form == "dual by layers":
                    used, point = used.by_arrays(), structure.split(flat)
                step, gradient, diagonal = jax.jit(
                    lambda p, used=used: step_of(solver, used, p, damping)
                )(point)
            assert {leaf.dtype for leaf in jax.tree.leaves((step, gradient, diagonal))} == {
                np.dtype(np.float32)
            }
            whole = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(step)])
            errors.append(
                shortfall(whole, jacobian, residuals, np.asarray(flat, float), damping, l2)
            )
    # The gradient in single precision alone costs ε² ‖Jᵀr‖² / λ, at most ε² / LITTLE = 1e-5 of the
    # residuals' squares.
    assert errors[0] < 1e-5, errors
    # NaN where the sums in single precision are not positive definite.
    assert not errors[1] < 10 * errors[0], errors


def test_a_switch_turns_sums_to_double():
    objective, params = objective_of(300)
    with precision.scope("float32"):
        flat = jnp.asarray(objective.structure.flatten_concrete(params, np.float32))
        compute = jax.jit(lambda used, p: used.linearize(p, Form.NORMAL).curvature.matrix)
        narrow, wide = (
            np.asarray(compute(objective.summed(True, np.asarray(on)), flat))
            for on in (False, True)
        )
        assert compute._cache_size() == 1
        jacobian = oracle(objective, flat)[0]
    right = jacobian.T @ jacobian
    size = np.abs(right).max()
    assert np.abs(wide - right).max() < 1e-14 * size
    assert 1e-9 * size < np.abs(narrow - right).max() < 1e-5 * size


def test_accelerators_need_no_double(monkeypatch):
    """Whatever is asked for: no operation of a step has 64 bits where there is no CPU to compute
    it.
    """
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    objective, params = objective_of(40)
    with precision.scope("float32"):
        flat = jnp.asarray(objective.structure.flatten_concrete(params, np.float32))
        for solver, point in (
            (lmjax.Cholesky(), flat),
            (lmjax.DualCholesky(), flat),
            (lmjax.DualCholesky(), objective.structure.split(flat)),
        ):
            used = objective.summed(True)
            used = used.by_arrays() if isinstance(point, list) else used
            text = str(
                jax.make_jaxpr(lambda p, used=used, solver=solver: step_of(solver, used, p, 1e-3))(
                    point
                )
            )
            assert "f64" not in text
            assert used.dtype_of_sums(point, solver.form) == np.float32
