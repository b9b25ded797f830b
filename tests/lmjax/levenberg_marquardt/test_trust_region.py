"""Steps as long as a radius allows, against a search with NumPy; and acceptance of steps that raise
the cost for a while.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.levenberg_marquardt.damping import DampingState
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.residuals import ResidualObjective

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

RANDOM = np.random.default_rng(3)
MATRIX, TARGET = RANDOM.normal(size=(9, 4)), RANDOM.normal(size=9)
SCALING = np.array([1.0, 4.0, 0.25, 100.0])


def linear(params, matrix, target):
    return matrix @ params - target


def step_of(linear_solver, radius):
    objective = ResidualObjective(
        (jnp.asarray(MATRIX), jnp.asarray(TARGET)),
        jax.tree_util.Partial(linear),
        Structure.of(np.zeros(4)),
    )
    linearization = objective.linearize(jnp.zeros(4), linear_solver.form)
    state = DampingState(jnp.asarray(0.1), jnp.asarray(radius))
    rule = lmjax.TrustRegion(slack=1e-6, max_iterations=50)
    return rule.solve(linear_solver, linearization, state, jnp.asarray(SCALING))[1:]


def step_of_length(radius):
    """(λ, step) by bisection."""

    def step(damping):
        return np.linalg.solve(MATRIX.T @ MATRIX + damping * np.diag(SCALING), MATRIX.T @ TARGET)

    damping = scipy.optimize.brentq(
        lambda d: np.sqrt(step(d) @ (SCALING * step(d))) - radius, 1e-9, 1e6, xtol=1e-14
    )
    return damping, step(damping)


@pytest.mark.parametrize(
    "linear_solver",
    [
        lmjax.Cholesky(),
        pytest.param(lmjax.QR(), marks=pytest.mark.slow),
        pytest.param(lmjax.DualCholesky(), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_the_step_is_as_long_as_the_radius(linear_solver):
    with jax.enable_x64(True):
        for radius in (0.01, 0.3):
            step, state = step_of(linear_solver, radius)
            damping, expected = step_of_length(radius)
            np.testing.assert_allclose(state.damping, damping, rtol=1e-4)
            np.testing.assert_allclose(step, expected, rtol=1e-4)
        if linear_solver.form is Form.DUAL:
            return  # J Jᵀ of more residuals than parameters is singular without damping
        whole, state = step_of(linear_solver, 1e3)
        np.testing.assert_allclose(whole, np.linalg.lstsq(MATRIX, TARGET)[0], rtol=1e-10)
        assert state.damping == 0


def test_conjugate_gradients_end_at_the_radius():
    with jax.enable_x64(True):
        for radius in (0.01, 0.3):
            step, state = step_of(lmjax.ConjugateGradients(forcing=1e-20), radius)
            assert np.sqrt(step @ (SCALING * step)) == pytest.approx(radius)
            # less of a reduction than the best step of that length, but a good part of it
            gain, best = (
                0.5 * (TARGET @ TARGET - np.sum((MATRIX @ s - TARGET) ** 2))
                for s in (step, step_of_length(radius)[1])
            )
            assert 0.5 * best <= gain <= best * (1 + 1e-9)
        whole, state = step_of(lmjax.ConjugateGradients(largest=1e-12), 1e3)
        np.testing.assert_allclose(whole, np.linalg.lstsq(MATRIX, TARGET)[0], rtol=1e-8)
        assert state.damping == 0


def test_the_radius_follows_the_gain():
    rule, state = lmjax.TrustRegion(), DampingState(jnp.asarray(1.0), jnp.asarray(8.0))
    assert [float(rule.accept(state, jnp.asarray(gain)).carried) for gain in (0.1, 0.5, 0.9)] == [
        4,
        8,
        16,
    ]
    assert (
        float(rule.accept(state._replace(damping=jnp.asarray(0.0)), jnp.asarray(0.5)).carried) == 16
    )
    assert float(rule.reject(state).carried) == 2


def rosenbrock(params):
    return jnp.stack([10 * (params[1] - params[0] ** 2), 1 - params[0]])


@pytest.mark.parametrize(
    "options",
    [
        {"damping": lmjax.TrustRegion()},
        {"damping": lmjax.TrustRegion(), "linear_solver": lmjax.ConjugateGradients()},
        {"damping": lmjax.TrustRegion(), "geodesic_acceleration": False},
    ],
    ids=["cholesky", "conjugate gradients", "straight"],
)
def test_rosenbrock(options):
    solution = lmjax.least_squares(
        rosenbrock, np.array([-1.2, 1.0]), solver=lmjax.LevenbergMarquardt(**options)
    )
    assert solution.status.success
    np.testing.assert_allclose(solution.params, 1, rtol=1e-10)


@pytest.mark.slow
def test_a_parameter_without_influence_stays():
    for linear_solver in (lmjax.Cholesky(), lmjax.ConjugateGradients()):
        solver = lmjax.LevenbergMarquardt(damping=lmjax.TrustRegion(), linear_solver=linear_solver)
        solution = lmjax.least_squares(
            lambda p: jnp.exp(p[:2]) - 3.0, np.array([0.0, 2.0, 7.0]), solver=solver
        )
        assert solution.status.success
        np.testing.assert_allclose(solution.params, [np.log(3), np.log(3), 7], rtol=1e-12)


@pytest.mark.parametrize("options", [{"initial": 0}, {"slack": 1}, {"shrink": 0}, {"poor": 0.9}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match="damping"):
        lmjax.TrustRegion(**options)


class TestNonMonotonic:
    def test_the_cost_may_rise_and_the_best_point_comes_back(self):
        solver = lmjax.LevenbergMarquardt(
            non_monotonic=4, geodesic_acceleration=False, damping=lmjax.Multiplicative(initial=1e-9)
        )
        step = jax.jit(lambda params, state: solver.step(rosenbrock, params, state))
        with jax.enable_x64(True):
            params = jnp.array([-1.2, 1.0])
            state, costs = solver.init(rosenbrock, params), []
            while int(state.status) == lmjax.Status.RUNNING and len(costs) < 200:
                params, state = step(params, state)
                costs.append(float(state.cost))
        assert any(after > before for before, after in itertools.pairwise(costs))
        assert lmjax.Status(int(state.status)).success
        assert costs[-1] <= min(costs)
        np.testing.assert_allclose(params, 1, rtol=1e-9)

    @pytest.mark.slow
    def test_a_run_that_is_cut_short_gives_its_best(self):
        options = {
            "geodesic_acceleration": False,
            "damping": lmjax.Multiplicative(initial=1e-9),
            "non_monotonic": 4,
        }
        for steps in (1, 2):
            solver = lmjax.LevenbergMarquardt(max_steps=steps, **options)
            solution = lmjax.least_squares(rosenbrock, np.array([-1.2, 1.0]), solver=solver)
            assert solution.status is lmjax.Status.MAX_STEPS
            assert solution.cost == pytest.approx(
                0.5 * np.sum(np.asarray(rosenbrock(solution.params)) ** 2)
            )
            assert solution.cost <= 12.1  # the start's

    def test_its_number_of_points_is_checked(self):
        with pytest.raises(ValueError, match="non_monotonic"):
            lmjax.LevenbergMarquardt(non_monotonic=-1)

    def test_fits_of_models_refuse_it(self):
        x = np.ones((4, 1))
        with pytest.raises(ValueError, match="non_monotonic"):
            lmjax.fit(
                lambda p, x: x * p,
                np.ones(1),
                x,
                x,
                solver=lmjax.LevenbergMarquardt(non_monotonic=2),
                epochs=1,
            )


@pytest.mark.slow
@pytest.mark.parametrize("linear_solver", [lmjax.DualCholesky(), lmjax.Cholesky(), lmjax.QR()])
def test_a_step_of_no_length_ends_a_run(linear_solver):
    """The columns of J are equal, and a dual step rounds to zero: a radius of zero stays so."""

    def residual_fn(params):
        total = params[0] + params[1]
        return jnp.stack([total**2 - 3.0, jnp.exp(params[2]) - total, params[2] * total - 0.5])

    solver = lmjax.LevenbergMarquardt(damping=lmjax.TrustRegion(), linear_solver=linear_solver)
    start = np.array([0.3, 0.9, 0.1])
    best = lmjax.least_squares(residual_fn, start)
    found = lmjax.least_squares(residual_fn, start, solver=solver)
    assert found.cost <= 1.01 * best.cost
