"""Bounded problems beside SciPy's ``trf``, and the ways in which bounds can be degenerate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import lmjax

INF = np.inf
T = np.linspace(0, 3, 20)
DECAY = 2.0 * np.exp(-1.5 * T) + 0.3


def rosenbrock(p, np):
    return np.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])


def powell(p, np):
    return np.stack(
        [
            p[0] + 10 * p[1],
            5**0.5 * (p[2] - p[3]),
            (p[1] - 2 * p[2]) ** 2,
            10**0.5 * (p[0] - p[3]) ** 2,
        ]
    )


def beale(p, np):
    return np.stack(
        [1.5 - p[0] * (1 - p[1]), 2.25 - p[0] * (1 - p[1] ** 2), 2.625 - p[0] * (1 - p[1] ** 3)]
    )


def wood(p, np):
    return np.stack(
        [
            10 * (p[1] - p[0] ** 2),
            1 - p[0],
            90**0.5 * (p[3] - p[2] ** 2),
            1 - p[2],
            10**0.5 * (p[1] + p[3] - 2),
            10**-0.5 * (p[1] - p[3]),
        ]
    )


def decay(p, np):
    return p[0] * np.exp(-p[1] * T) + p[2] - DECAY


def linear(p, np):
    """Strongly correlated: a step that is merely projected loses its descent."""
    return np.stack([p[0] + 0.99 * p[1] - 3, 0.1 * p[1] + 1, 0.99 * p[1] + p[2], 0.1 * p[2] - 2])


PROBLEMS = {  # function, start, lower, upper
    "nothing active": (rosenbrock, [-1.2, 1.0], [-2, -2], [2, 2]),
    "one upper active": (rosenbrock, [-1.2, 1.0], [-INF, -INF], [0.5, INF]),
    "one lower active": (rosenbrock, [2.0, 2.0], [-INF, 1.5], [INF, INF]),
    "start in the corner": (rosenbrock, [-2.0, -2.0], [-2, -2], [0.8, 2]),
    "bound at the minimum": (rosenbrock, [-1.2, 0.5], [-2, -2], [1, 1]),
    "lower equals upper": (
        wood,
        [-3.0, -1.0, 0.9, -1.0],
        [-INF, -INF, 0.9, -INF],
        [INF, INF, 0.9, INF],
    ),
    "wood": (wood, [-3.0, -1.0, -3.0, -1.0], [-10] * 4, [0.7, 10, 10, 10]),
    "powell": (powell, [3.0, -1.0, 0.0, 1.0], [0.1, -INF, -INF, -INF], [INF] * 4),
    "beale": (beale, [1.0, 0.3], [-INF, -INF], [2.5, 0.4]),
    "decay": (decay, [1.0, 1.0, 0.0], [0, 0, 0], [1.9, 1.4, 0.25]),
    "all active": (decay, [1.0, 1.0, 0.0], [0, 0, -1], [1.0, 1.0, 0.1]),
    "correlated": (linear, [0.0, 0.0, 0.0], [-1, -1, -1], [5, 5, 5]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_agrees_with_trf(name):
    function, start, lower, upper = PROBLEMS[name]
    solution = lmjax.least_squares(
        lambda p: function(p, jnp), np.array(start), bounds=(lower, upper)
    )
    assert solution.status.success, solution.status.message
    assert np.all((np.asarray(solution.params) >= lower) & (solution.params <= np.asarray(upper)))
    fixed = np.equal(lower, upper)  # trf refuses equal bounds

    def free(q):
        return function(
            np.asarray(
                np.insert(q, np.flatnonzero(fixed) - np.arange(fixed.sum()), np.array(start)[fixed])
            ),
            np,
        )

    box = np.array(lower)[~fixed], np.array(upper)[~fixed]
    inside = np.clip(np.array(start)[~fixed], *box)
    expected = scipy.optimize.least_squares(
        free, inside, bounds=box, method="trf", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=5000
    )
    if name == "wood":  # which has another minimum, where this run ends: trf stays there too
        inside = np.clip(np.asarray(solution.params), box[0] + 1e-9, box[1] - 1e-9)
        expected = scipy.optimize.least_squares(
            free, inside, bounds=box, method="trf", xtol=1e-15, ftol=1e-15, gtol=1e-15
        )
    assert float(solution.cost) <= expected.cost * (1 + 1e-8) + 1e-15
    if expected.cost > 1e-15 and expected.cost <= float(solution.cost) * (1 + 1e-6):
        np.testing.assert_allclose(np.asarray(solution.params)[~fixed], expected.x, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "linear_solver",
    [lmjax.QR(), lmjax.Cholesky(), lmjax.DualCholesky(), lmjax.ConjugateGradients()],
    ids=repr,
)
def test_the_first_step_of_a_linear_problem_finds_the_active_set(linear_solver):
    """Against the exact answer: enumeration of active sets."""
    generator = np.random.default_rng(5)
    matrix, target = generator.normal(size=(8, 4)), 3 * generator.normal(size=8)
    matrix[:, 1] += 3 * matrix[:, 0]
    solver = lmjax.LevenbergMarquardt(linear_solver=linear_solver)
    solution = lmjax.least_squares(
        _linear, np.zeros(4), (matrix, target), bounds=(-0.2, 0.2), solver=solver
    )
    exact = scipy.optimize.lsq_linear(matrix, target, (-0.2, 0.2), method="bvls", tol=1e-15)
    np.testing.assert_allclose(solution.params, exact.x, atol=1e-8)
    assert int(solution.num_steps) < 12


def _linear(p, matrix, target):
    return matrix @ p - target


@pytest.mark.slow
def test_many_bounds_in_one_program():
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        solve = jax.jit(
            lambda m, t, low, high: lmjax.least_squares(
                _linear, jnp.zeros(4), (m, t), bounds=(low, high)
            )
        )
        for _ in range(20):
            matrix, target = generator.normal(size=(6, 4)), 3 * generator.normal(size=6)
            lower, upper = np.sort(generator.normal(size=(2, 4)), axis=0)
            solution = solve(matrix, target, lower, upper)
            exact = scipy.optimize.lsq_linear(
                matrix, target, (lower, upper), method="bvls", tol=1e-15
            )
            assert solution.status.success
            np.testing.assert_allclose(solution.params, exact.x, atol=1e-7)


@pytest.mark.parametrize(
    "given", [([0, 0], None), ((0.0, 0.0), None), (np.zeros(2), None), (0, np.array([9.0, INF]))]
)
def test_bounds_of_an_array_may_be_lists(given):
    np.testing.assert_array_equal(
        lmjax.least_squares(lambda p: p + 1.0, np.ones(2), bounds=given).params, 0.0
    )


def test_bounds_that_do_not_fit_are_named():
    def residuals(p):
        return p["a"].ravel() - p["b"][0]

    with pytest.raises(ValueError, match=r"bounds: params\[1\]: lower 2 is not at most upper 1"):
        lmjax.least_squares(lambda p: p, np.ones(2), bounds=([0, 2], [1, 1]))
    params = {"a": np.zeros((2, 2)), "b": [1.0, 2.0]}
    with pytest.raises(
        ValueError,
        match=r"bounds: params\['a'\]\[1, 0\], params\['b'\]\[1\]: lower 5 is not at most upper 3",
    ):
        lmjax.least_squares(
            residuals, params, bounds=({"a": np.array([[0, 0], [5, 0]]), "b": [0, 4]}, 3)
        )
    with pytest.raises(
        ValueError, match=r"bounds: .*params\['a'\] has shape \(2, 2\), and was given shape \(3,\)"
    ):
        lmjax.least_squares(residuals, params, bounds=({"a": np.zeros(3), "b": [0, 4]}, 3))


def test_an_infinite_start_is_moved_to_a_finite_bound():
    with pytest.warns(UserWarning, match="moved"):
        solution = lmjax.least_squares(lambda p: p - 1.0, np.array([np.inf]), bounds=(0, 4))
    np.testing.assert_allclose(solution.params, 1.0)
