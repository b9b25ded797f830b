"""Fits in float32: their normal equations know of J what J itself does, and success is said only
where float64 agrees.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from benchmarks.problems.stationarity import what_a_linear_step_could_gain
from lmjax._src.arrays import products
from lmjax._src.arrays.structure import Structure
from lmjax._src.levenberg_marquardt.state import initial_state
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives import mean_loss
from lmjax._src.objectives.cost_noise import cost_noise, cost_noise_of_rows
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.sampled import SampledObjective
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import precision
from lmjax._src.training.epochs.stages import going_on, stages
from lmjax.losses import MeanSquaredError

needs_cpu = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="sums in double are for processors"
)


def network(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"] + params["c"]


def weights(units, dtype, seed=0):
    random = np.random.default_rng(seed)
    limit = np.sqrt(6 / (units + 1))
    start = {
        "w": random.uniform(-1, 1, (1, units)) * limit,
        "v": random.uniform(-1, 1, (units, 1)) * limit,
    }
    return {
        name: np.asarray(leaf, dtype)
        for name, leaf in {**start, "b": np.zeros(units), "c": np.zeros(1)}.items()
    }


def sinc(rows, dtype):
    x = np.linspace(-1, 1, rows)[:, None]
    return x.astype(dtype), np.sinc(10 * x).astype(dtype)


def objective_of(params, rows, l2=None):
    x, y = sinc(rows, np.float32)
    size = Structure.of(params).size
    penalty = None if l2 is None else Penalty(jnp.full(size, l2, np.float32))
    rows = Rows(jnp.asarray(x), jnp.asarray(y), None)
    return SupervisedObjective(
        rows, network, penalty, MeanSquaredError(), Structure.of(params), in_double=True
    )


@needs_cpu
@pytest.mark.parametrize("chunk_bytes", [2**27, 2**12])
@pytest.mark.parametrize("l2", [None, 1e-3])
def test_normal_equations_hold_what_a_jacobian_in_single_precision_does(
    chunk_bytes, l2, monkeypatch
):
    monkeypatch.setattr(mean_loss, "CHUNK_BYTES", chunk_bytes)
    params = weights(10, np.float32)
    objective = objective_of(params, 500, l2)
    flat = objective.structure.flatten(params)

    @jax.jit
    def both(flat):
        rows, normal = (objective.linearize(flat, form) for form in (Form.JACOBIAN, Form.NORMAL))
        step = lmjax.Cholesky().solve(
            lmjax.Cholesky().factor(normal, jnp.float32(1e-9), jnp.ones_like(flat)), normal.source
        )
        return (
            rows.curvature.jacobian,
            rows.source.rows,
            normal.gradient,
            normal.diagonal,
            step,
            normal.promised(step),
        )

    jacobian, residuals, gradient, diagonal, step, promised = both(flat)
    assert {array.dtype for array in (gradient, diagonal, step, promised)} == {np.dtype(np.float32)}
    jacobian, residuals, ridge = (
        np.asarray(jacobian, float),
        np.asarray(residuals, float),
        2 * float(np.float32(l2 or 0)),
    )
    below = np.sqrt(ridge + float(np.float32(1e-9))) * np.eye(flat.size)
    shift = ridge * np.asarray(flat, float) / np.sqrt(ridge + float(np.float32(1e-9)))
    right = np.linalg.lstsq(
        np.vstack([jacobian, below]), -np.concatenate([residuals, shift]), rcond=None
    )[0]
    # The right answer by QR. J is known to ε = 6e-8, the equations' least singular value is 3e-5 of
    # the largest.
    np.testing.assert_allclose(step, right, atol=2e-2 * np.abs(right).max())
    everything = jacobian.T @ jacobian + ridge * np.eye(flat.size)
    np.testing.assert_allclose(diagonal, np.diag(everything), rtol=1e-6)
    np.testing.assert_allclose(
        promised, -(gradient @ right + 0.5 * right @ everything @ right), rtol=1e-2
    )


def test_many_parameters_and_accelerators_stay_in_single_precision(monkeypatch):
    assert products.dtype_of_sums(products.MAX_IN_DOUBLE + 1, np.float32) == np.float32
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert products.dtype_of_sums(1, np.float32) == np.float32
    assert products.dtype_of_sums(1, np.float64) == np.float64


@pytest.mark.slow
@needs_cpu
def test_training_goes_on_below_what_single_precision_sees_of_the_normal_equations():
    """It ended at 2e-7 to 1e-5, as converged, where double precision goes on to below 1e-8."""
    result = lmjax.fit(
        network, weights(20, np.float32), *sinc(1000, np.float32), epochs=300, verbose=0
    )
    assert result.params["w"].dtype == np.float32
    assert result.history["loss"][-1] < 1e-7, (result.status, result.history["loss"][-1])


def straight(params, x):
    return x * params["w"] + params["c"]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "binary_crossentropy"])
@pytest.mark.parametrize("units", [0, 1, 4, 8])
def test_success_is_said_where_double_precision_agrees(loss, units):
    """By QR in float64 of the columns of J, from J and r alone. A line is done in a few steps, and
    must be called so.
    """
    random = np.random.default_rng(units)
    x = random.uniform(-1, 1, (300, 1))
    y = np.sinc(4 * x) + 0.1 * random.normal(size=x.shape)
    y = y if loss == "mse" else (y > 0.3) * 1.0
    model = network if units else straight
    start = (
        weights(units, np.float32)
        if units
        else {"w": np.zeros(1, np.float32), "c": np.zeros(1, np.float32)}
    )

    def squashed(params, x):
        return model(params, x) if loss == "mse" else 0.01 + 0.98 * jax.nn.sigmoid(model(params, x))

    result = lmjax.fit(
        squashed, start, x.astype("float32"), y.astype("float32"), loss=loss, epochs=400, verbose=0
    )
    structure = Structure.of(result.params)

    def residuals(flat):
        p = squashed(structure.unflatten(flat), x)
        # Of the crossentropy the gradient is Jᵀ r and the curvature JᵀJ, for J and r over the root
        # of p (1 - p).
        return (
            (p - y) / (1 if loss == "mse" else jax.lax.stop_gradient(jnp.sqrt(p * (1 - p))))
        ).ravel()

    reached, size = what_a_linear_step_could_gain(
        residuals, np.asarray(structure.flatten(result.params), float)
    )
    assert not result.status.success or reached**2 <= 0.1 * size**2, (result.status, reached, size)
    assert result.status.success or units, result.status


@pytest.mark.slow
def test_rounding_of_rows_is_no_conspiracy():
    """Of values that the compiler rounds row by row: the losses of parameters that differ in their
    last bits.
    """
    params = weights(20, np.float32, 3)
    objective = objective_of(params, 5000)
    flat = objective.structure.flatten(params)
    random = np.random.default_rng(0)
    noise = jax.jit(lambda flat: _noises(objective, flat))
    worst, of_rows = map(float, noise(flat))
    near = [
        np.asarray(flat)
        * (1 + np.float32(2**-24) * random.integers(-1, 2, flat.size).astype(np.float32))
        for _ in range(20)
    ]
    costs = np.asarray(
        [
            float(objective.cost(objective.evaluate(jnp.asarray(each, jnp.float32))))
            for each in near
        ],
        float,
    )
    assert of_rows < worst / 10
    gradient = objective.linearize(flat, Form.NORMAL).gradient
    # The parameters' own rounding, far from a minimum.
    slope = float(jnp.linalg.norm(gradient * flat)) * 2.0**-23
    assert np.std(costs) <= of_rows + slope


def _noises(objective, flat):
    here = objective.linearize(flat, Form.NORMAL)
    size = jnp.sqrt(jnp.sum(here.diagonal * flat * flat))
    return cost_noise(here.cost, size), cost_noise_of_rows(
        here.cost, size, objective.num_residuals(flat)
    )


def test_steps_going_on_go_on_from_those_with_a_sample():
    fresh = initial_state(np.ones(3, np.float32))
    halfway = fresh._replace(
        damping=fresh.damping._replace(damping=np.float32(1e-6)),
        attempts=np.int32(2),
        known=np.ones(2),
        cost=np.float32(3),
    )
    followed = going_on(np.ones(3, np.float32), halfway, None)
    assert (float(followed.damping.damping), int(followed.attempts), followed.known) == (
        np.float32(1e-6),
        0,
        None,
    )
    ended = halfway._replace(status=np.int32(Status.DAMPING_EXHAUSTED), num_steps=np.int32(7))
    afresh = going_on(np.ones(3, np.float32), ended, None)
    assert (float(afresh.damping.damping), int(afresh.num_steps)) == (0, 7)


@pytest.mark.slow
@needs_cpu
def test_a_source_of_ones_own_functions_sees_the_mode_of_the_fit():
    """Double is for our sums: the model, traced within, makes no numbers of 64 bits."""
    seen = set()

    def model(params, x):
        seen.add((bool(jax.config.read("jax_enable_x64")), jnp.arange(3).dtype, jnp.zeros(2).dtype))
        return network(params, x)

    solver = dataclasses.replace(lmjax._src.training.fit.FIT_SOLVER, curvature_sample=None)
    lmjax.fit(
        model, weights(3, np.float32), *sinc(100, np.float32), epochs=3, solver=solver, verbose=0
    )
    with precision.scope("float32"):
        assert seen == {(False, np.dtype(np.int32), np.dtype(np.float32))}


@needs_cpu
@pytest.mark.parametrize(
    ("units", "rows", "sampled", "in_double"),
    [
        (1, 100, False, [True]),  # four weights: at once
        (20, 1000, False, [False, True]),
        (20, 20_000, True, [False, True, True]),
        (100, 50, False, [False, True]),  # the dual form
        (
            1400,
            50,
            False,
            [False, True],
        ),  # and that of more parameters than a matrix in double may have
        (1400, 5000, False, [True]),  # JᵀJ of as many
    ],
)
def test_a_step_is_no_dearer_until_the_loss_hardly_falls(units, rows, sampled, in_double):
    """Sums in double decide why a fit stopped; until then they are in single precision, of a sample
    in the same program.
    """
    params = weights(units, np.float32)
    objective = dataclasses.replace(objective_of(params, rows), in_double=False)
    with precision.scope("float32"):
        flat = jnp.asarray(objective.structure.flatten(params))
        found = stages(
            lmjax._src.training.fit.FIT_SOLVER.resolved(objective, flat), objective, flat
        )
    assert [isinstance(each, SampledObjective) for each in found[:-1]] == [sampled] * (
        len(found) - 1
    )
    assert [
        bool(each.sample.switch) if sampled and k < 2 else each.in_double
        for k, each in enumerate(found)
    ] == in_double
    treedefs = {jax.tree.structure(each) for each in found[:2]}
    assert len(treedefs) == (1 if sampled else len(in_double))
