"""Robust losses, weights and fixed parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import lmjax
from lmjax._src.objectives.robust import ROBUST_LOSSES, corrected, robust_cost

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

X = np.linspace(0, 3, 40)
Y = 2.0 * np.exp(-1.5 * X) + 0.3 + 0.02 * np.random.default_rng(0).normal(size=40)
OUTLIERS = Y.copy()
OUTLIERS[::7] += 2 * np.random.default_rng(1).normal(size=6)
START = np.array([1.0, 1.0, 0.0])
TIGHT = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-14}


def decay(p, x, y):
    return p[0] * jnp.exp(-p[1] * x) + p[2] - y


def numpy_decay(p, x, y):
    return p[0] * np.exp(-p[1] * x) + p[2] - y


@pytest.mark.slow
@pytest.mark.parametrize("name", ROBUST_LOSSES)
def test_terms_are_a_value_and_its_derivatives(name):
    """Against automatic differentiation of ½C²ρ((r/C)²), on both sides of the scale."""
    r = np.array([0.0, 1e-3, 0.4, -0.9, 1.3, -5.0])
    with jax.enable_x64(True):
        loss = ROBUST_LOSSES[name](0.8)

        def cost(r):
            return robust_cost(loss, r)

        z = (r / 0.8) ** 2
        _, slope, curvature = loss.terms(z)
        np.testing.assert_allclose(slope * r, jax.vmap(jax.grad(cost))(r), atol=1e-12)
        second = jax.vmap(jax.grad(jax.grad(cost)))(r)
        np.testing.assert_allclose(curvature, second, atol=1e-12)
        for floor in (0.0, 0.1, 1.0):
            rows = corrected(loss, r, floor)
            np.testing.assert_allclose(rows.root * rows.residuals, slope * r, atol=1e-12)
            inner = np.abs(r) < 0.3
            np.testing.assert_allclose(
                (rows.root**2)[inner], np.maximum(curvature, floor * slope)[inner]
            )


def test_structures_differ():
    """Else a compiled program of one loss may run for another."""
    structures = [jax.tree.structure(loss(1.0)) for loss in ROBUST_LOSSES.values()]
    assert all(a != b for k, a in enumerate(structures) for b in structures[:k])


def test_tukey_is_its_textbook_self():
    r = np.linspace(-3, 3, 41)
    expected = np.where(np.abs(r) <= 2, 4 / 6 * (1 - (1 - (r / 2) ** 2) ** 3), 4 / 6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(robust_cost(lmjax.Tukey(2.0), r), expected, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "huber", "soft_l1", "cauchy"])
def test_agrees_with_scipy(name):
    loss = name if name == "linear" else ROBUST_LOSSES[name](0.05)
    solution = lmjax.least_squares(decay, START, (X, OUTLIERS), loss=loss)
    expected = scipy.optimize.least_squares(
        numpy_decay, START, args=(X, OUTLIERS), loss=name, f_scale=0.05, **TIGHT
    )
    assert solution.status.success
    np.testing.assert_allclose(solution.params, expected.x, rtol=1e-6)
    assert float(solution.cost) == pytest.approx(expected.cost, rel=1e-10)
    popt, pcov = lmjax.curve_fit(
        lambda x, *p: decay(p, x, 0.0), X, OUTLIERS, START, loss=name, f_scale=0.05
    )
    _, expected_cov = scipy.optimize.curve_fit(
        lambda x, *p: numpy_decay(p, x, 0.0),
        X,
        OUTLIERS,
        expected.x,
        loss=name,
        f_scale=0.05,
        method="trf",
        **TIGHT,
    )
    np.testing.assert_allclose(popt, solution.params, rtol=1e-9)
    np.testing.assert_allclose(pcov, expected_cov, rtol=1e-3)


@pytest.mark.slow
def test_tukey_against_a_slow_oracle():
    """Iterated reweighting from the same start, and the data without their outliers."""
    loss = lmjax.Tukey(0.3)
    solution = lmjax.least_squares(decay, np.array([1.9, 1.4, 0.25]), (X, OUTLIERS), loss=loss)
    p = np.array([1.9, 1.4, 0.25])
    for _ in range(100):
        r = numpy_decay(p, X, OUTLIERS)
        root = np.where(np.abs(r) < 0.3, 1 - (r / 0.3) ** 2, 0)
        p = scipy.optimize.least_squares(
            lambda q, root=root: root * numpy_decay(q, X, OUTLIERS), p, method="lm", **TIGHT
        ).x
    assert solution.status.success
    np.testing.assert_allclose(solution.params, p, rtol=1e-7)
    clean = np.abs(OUTLIERS - Y) < 0.3
    np.testing.assert_allclose(
        solution.params, lmjax.least_squares(decay, START, (X[clean], Y[clean])).params, rtol=0.05
    )


@pytest.mark.slow
def test_no_false_success_where_no_residual_counts():
    solution = lmjax.least_squares(decay, START, (X, OUTLIERS + 5), loss=lmjax.Tukey(0.1))
    assert solution.status is lmjax.Status.FLAT


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver",
    [lmjax.QR(), lmjax.Cholesky(), lmjax.DualCholesky(), lmjax.ConjugateGradients()],
    ids=repr,
)
def test_every_linear_solver_takes_the_corrected_model(solver):
    options = {
        "solver": lmjax.LevenbergMarquardt(linear_solver=solver),
        "loss": lmjax.Cauchy(0.05),
        "bounds": (None, [3, 3, 0.28]),
    }
    solution = lmjax.least_squares(decay, START, (X, OUTLIERS), **options)
    expected = scipy.optimize.least_squares(
        numpy_decay,
        START,
        args=(X, OUTLIERS),
        loss="cauchy",
        f_scale=0.05,
        bounds=(-np.inf, [3, 3, 0.28]),
        **TIGHT,
    )
    assert solution.status.success
    np.testing.assert_allclose(solution.params, expected.x, rtol=1e-5)
    assert solution.params[2] == 0.28


def test_scale_and_weights_are_data(caplog):
    lmjax.least_squares(decay, START, (X, OUTLIERS), loss=lmjax.Huber(0.1), weights=np.ones(40))
    with jax.log_compiles(), caplog.at_level("WARNING"):
        lmjax.least_squares(
            decay, START, (X, OUTLIERS), loss=lmjax.Huber(0.2), weights=np.full(40, 2.0)
        )
    assert "Compiling" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_and_sigmas(dtype):
    sigma = np.linspace(0.01, 0.1, 40)
    expected, covariance = scipy.optimize.curve_fit(
        lambda x, *p: numpy_decay(p, x, 0.0), X, Y, START, sigma, xtol=1e-15, ftol=1e-15, gtol=0.0
    )
    for options in ({"sigma": sigma}, {"weights": sigma**-2.0}):
        solution = lmjax.least_squares(decay, START.astype(dtype), (X, Y), **options)
        assert solution.status.success
        np.testing.assert_allclose(
            solution.params, expected, rtol=2e-3 if dtype == np.float32 else 1e-8
        )
        np.testing.assert_allclose(
            solution.covariance(), covariance, rtol=2e-2 if dtype == np.float32 else 1e-5
        )
    np.testing.assert_allclose(solution.residuals(), numpy_decay(solution.params, X, Y), atol=1e-5)


@pytest.mark.slow
def test_weights_of_a_tree_and_of_zero():
    """Residuals of weight zero may be NaN; they do not count as degrees of freedom."""
    broken = np.where(X > 2, np.nan, Y)
    kept = X <= 2

    def residuals(p, x, y):
        return {"curve": decay(p, x, y), "prior": p}

    solution = lmjax.least_squares(
        residuals, START, (X, broken), weights={"curve": kept.astype(float), "prior": 0.0}
    )
    alone = lmjax.least_squares(decay, START, (X[kept], Y[kept]))
    np.testing.assert_allclose(solution.params, alone.params, rtol=1e-9)
    np.testing.assert_allclose(solution.covariance(), alone.covariance(), rtol=1e-6)
    assert solution.degrees_of_freedom() == alone.degrees_of_freedom() == kept.sum() - 3
    with jax.enable_x64(True):
        masks = jnp.stack([jnp.asarray(kept, float), jnp.ones(40)])
        many = jax.jit(
            jax.vmap(lambda w: lmjax.least_squares(decay, START, (X, Y), weights=w).params)
        )(masks)
    np.testing.assert_allclose(many[0], alone.params, rtol=1e-7)


class TestFixed:
    @pytest.mark.slow
    def test_agrees_with_a_problem_without_them(self):
        params = {"a": np.array(1.0), "b": np.array(1.4), "c": np.array([0.0])}

        def residuals(p, x, y):
            return decay((p["a"], p["b"], p["c"][0]), x, y)

        solution = lmjax.least_squares(
            residuals, params, (X, Y), fixed={"a": False, "b": True, "c": False}
        )
        alone = lmjax.least_squares(
            lambda q, x, y: decay((q[0], 1.4, q[1]), x, y), np.array([1.0, 0.0]), (X, Y)
        )
        assert solution.status.success
        assert solution.params["b"] == 1.4
        np.testing.assert_allclose(
            [solution.params["a"], solution.params["c"][0]], alone.params, rtol=1e-9
        )
        covariance = np.asarray(solution.covariance())
        np.testing.assert_allclose(
            covariance[np.ix_([0, 2], [0, 2])], alone.covariance(), rtol=1e-8
        )
        assert not covariance[1].any()
        assert solution.standard_errors()["b"] == 0
        assert solution.degrees_of_freedom() == 38

    @pytest.mark.slow
    def test_in_a_mask_with_bounds_under_jit(self):
        """The fixed parameter lies outside its bounds."""

        def residuals(p):
            return jnp.stack([p[0] - 3 + p[2] ** 2, p[1] - 4])

        options = {"fixed": np.array([False, False, True]), "bounds": ([0, 0, 1], 3.5)}
        solution = lmjax.least_squares(residuals, np.zeros(3), **options)
        np.testing.assert_allclose(solution.params, [3, 3.5, 0])
        assert solution.status.success
        with jax.enable_x64(True):
            traced = jax.jit(lambda p: lmjax.least_squares(residuals, p, **options).params)(
                jnp.zeros(3)
            )
        np.testing.assert_allclose(traced, solution.params)

    @pytest.mark.parametrize(
        ("fixed", "words"),
        [
            (True, "all parameters"),
            ([True, False], "shaped"),
            (np.array([1, 0, 0]), "boolean"),
            ({"a": True}, "shaped"),
        ],
    )
    def test_wrong_masks_are_named(self, fixed, words):
        with pytest.raises(ValueError, match=f"fixed.*{words}"):
            lmjax.least_squares(decay, START, (X, Y), fixed=fixed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "hubber"}, "loss.*'huber'"),
        ({"loss": lmjax.Huber}, "loss"),
        ({"loss": lmjax.Huber(-1.0)}, "scale"),
        ({"loss": dataclasses.replace(lmjax.Tukey(), scale=np.ones(2))}, "scale"),
        ({"weights": -np.ones(40)}, "weights.*at least 0"),
        ({"weights": np.ones(39)}, "weights"),
        ({"weights": np.ones(40), "sigma": 1.0}, "one of them"),
        ({"sigma": np.zeros(40)}, "sigma.*positive"),
    ],
)
def test_wrong_input_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        lmjax.least_squares(decay, START, (X, Y), **options)
