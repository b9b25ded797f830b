"""Steps along paths that are bent by the second derivative of the residuals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.levenberg_marquardt import step_path
from lmjax._src.levenberg_marquardt.damping import DampingState
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.residuals import ResidualObjective

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

LIMIT = 1.0

#: Of a path, as halving takes them.
PARTS = (1.0, 0.5, 0.125)


def residual_fn(p):
    return jnp.stack(
        [p[0] * jnp.exp(p[1]) - 2, jnp.sin(p[0] * p[1]) + p[0], p[1] ** 3 - p[0], p[0] + 0.5]
    )


def dense(params, damping, scaling):
    """v, a and the cost's gradient and JᵀJ, from whole second derivatives."""
    jacobian, second = jax.jacfwd(residual_fn)(params), jax.hessian(residual_fn)(params)
    residuals = residual_fn(params)
    matrix = jacobian.T @ jacobian
    velocity = -np.linalg.solve(matrix + damping * np.diag(scaling), jacobian.T @ residuals)
    along = np.einsum("kij,i,j->k", second, velocity, velocity)
    return (
        velocity,
        -np.linalg.solve(matrix + damping * np.diag(scaling), jacobian.T @ along),
        jacobian.T @ residuals,
        matrix,
    )


def ends(params, damping, scaling, linear, parts):
    """Whether the path is cut short, and (params, predicted reduction) at the end of ``parts`` of
    it.
    """
    solver = lmjax.LevenbergMarquardt(linear_solver=linear, acceleration_limit=LIMIT)
    objective = ResidualObjective((), residual_fn, Structure.of(params), solver.jacobians)
    linearization = objective.linearize(params, linear.form)
    state = DampingState(jnp.asarray(damping), jnp.asarray(2.0))
    path = step_path.path_with(solver, objective, None, params, linearization, state, scaling)
    return path.share < 1, [
        step_path.along(solver, None, params, linearization, scaling, path, part)[::2]
        for part in parts
    ]


@pytest.mark.slow
@pytest.mark.parametrize("linear", [lmjax.Cholesky(), lmjax.QR(), lmjax.DualCholesky()])
@pytest.mark.parametrize("damping", [1e-4, 0.3, 10.0, 1e4])
def test_a_path_is_followed_to_where_it_bends_too_much(damping, linear):
    shares = []
    with jax.enable_x64(True):
        for start in ([0.3, 0.2], [2.0, -1.5], [-1.0, 2.0], [0.05, 0.4]):
            params, scaling = jnp.asarray(start), jnp.asarray([1.0, 3.0])
            velocity, acceleration, gradient, matrix = dense(params, damping, scaling)
            length = np.sqrt(velocity @ (scaling * velocity))
            share = min(
                1.0, LIMIT * length / (2 * np.sqrt(acceleration @ (scaling * acceleration)))
            )
            short, got = ends(params, damping, scaling, linear, PARTS)
            assert bool(short) == (share < 1)
            for part, (end, predicted) in zip(PARTS, got, strict=True):
                t = part * share
                np.testing.assert_allclose(
                    end - params, t * velocity + 0.5 * t**2 * acceleration, rtol=1e-9, atol=1e-13
                )
                np.testing.assert_allclose(
                    predicted,
                    -t * gradient @ velocity - 0.5 * t * t * velocity @ matrix @ velocity,
                    rtol=1e-7,
                )
            shares.append(share)
    assert min(shares) < 1 or damping > 1
    assert max(shares) == 1 or damping < 1


@pytest.mark.slow
def test_no_path_no_end():
    """Without a step, or with an acceleration that overflows, nothing is accepted that is not a
    number.
    """
    assert step_path._share(LIMIT, jnp.zeros(()), jnp.zeros(())) == 1
    assert step_path._share(LIMIT, jnp.ones(()), jnp.asarray(jnp.inf)) == 0
    # exp(64), whose second derivative overflows float32.
    solution = lmjax.least_squares(lambda p: jnp.exp(p**3) - 2, np.array([4.0]))
    assert np.isfinite(solution.params).all()


@pytest.mark.parametrize(
    "rule",
    [
        lmjax.Nielsen(),
        lmjax.Multiplicative(),
        lmjax.Multiplicative.delayed_gratification(),
        lmjax.TrustRegion(),
    ],
)
def test_a_bent_path_damps_the_next_step_more(rule):
    state = DampingState(jnp.asarray(0.5), jnp.asarray(3.0))
    after = rule.shorten(state)
    assert after.damping > state.damping or after.carried < state.carried


def test_a_rule_without_the_method_is_named():
    class Constant:
        def init(self, diagonal, scaling):
            return DampingState(jnp.ones(()), jnp.ones(()))

        def accept(self, state, gain_ratio):
            return state

        reject = init

    with pytest.raises(
        ValueError, match=r"damping: expected a lmjax.extend.DampingRule, .* without shorten\(\)"
    ):
        lmjax.LevenbergMarquardt(damping=Constant())


@pytest.mark.parametrize("loss", [None, lmjax.Huber(0.5)])
def test_the_kept_jacobian_gives_what_a_pass_backwards_gives(loss):
    with jax.enable_x64(True):
        params, velocity = jnp.asarray([0.3, 0.2]), jnp.asarray([0.5, -1.0])
        objective = ResidualObjective((), residual_fn, Structure.of(params), loss=loss)
        curvature = objective.linearize(params, Form.NORMAL).curvature
        assert curvature.jacobian is not None
        kept = objective.curvature_gradient(params, velocity, Form.NORMAL, curvature).rest
        np.testing.assert_allclose(
            kept, objective.curvature_gradient(params, velocity, Form.NORMAL).rest, rtol=1e-12
        )


def test_bent_steps_stay_within_bounds():
    with jax.enable_x64(True):
        for start in ([0.3, 0.2], [1.9, -1.4], [-1.0, 1.9]):
            bounds = (np.array([-1.0, -1.5]), np.array([2.0, 2.0]))
            free = lmjax.least_squares(residual_fn, np.array(start), bounds=bounds)
            assert np.all(free.params >= bounds[0])
            assert np.all(free.params <= bounds[1])
            assert float(free.cost) <= 0.5 * float(
                jnp.sum(residual_fn(jnp.clip(jnp.asarray(start), *bounds)) ** 2)
            )
