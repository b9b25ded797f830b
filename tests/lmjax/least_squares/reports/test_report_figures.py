"""The figures of a report, beside those of lmfit and those that NIST has certified."""

import jax
import lmfit
import numpy as np
import pytest

import lmjax
from benchmarks.problems.nist import problems

#: The others are slow. Of Lanczos1 no digits of the errors are in its data.
_AT_ONCE = ("Misra1a",)
_PROBLEMS = [
    pytest.param(
        problem, id=problem.name, marks=[] if problem.name in _AT_ONCE else pytest.mark.slow
    )
    for problem in problems()
    if problem.name != "Lanczos1"
]


def _close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def _by_lmfit(problem, start):
    """lmfit from where we have come to, with exact derivatives: it takes differences else."""
    function, names = problem.residuals(), [f"b{k}" for k in range(len(start))]
    with jax.enable_x64(True):
        residuals = jax.jit(lambda p: function(p, *problem.data))
        jacobian = jax.jit(jax.jacfwd(lambda p: function(p, *problem.data)))

        def values(params):
            return np.array([params[name].value for name in names])

        params = lmfit.Parameters()
        for name, value in zip(names, start, strict=True):
            params.add(name, value=value)
        return lmfit.minimize(
            lambda params: np.asarray(residuals(values(params))),
            params,
            method="leastsq",
            Dfun=lambda params: np.array(jacobian(values(params))),
            ftol=1e-14,
            xtol=1e-14,
        )


@pytest.mark.parametrize("problem", _PROBLEMS)
def test_figures_agree_with_lmfit_and_nist(problem):
    solution = lmjax.least_squares(problem.residuals(), problem.start(2), problem.data)
    ours, theirs = solution.summary(), _by_lmfit(problem, solution.params)
    for name, other in (
        ("chi_square", "chisqr"),
        ("reduced_chi_square", "redchi"),
        ("aic", "aic"),
        ("bic", "bic"),
    ):
        _close(ours[name], getattr(theirs, other))
    assert (
        ours["degrees_of_freedom"] == theirs.nfree == problem.record["degrees_of_freedom_n_minus_p"]
    )
    assert ours["num_residuals"] == theirs.ndata
    _close(ours["reduced_chi_square"], problem.record["certified_residual_sd"] ** 2)
    errors = [each["standard_error"] for each in ours["parameters"]]
    assert problem.digits_of_standard_errors(errors) >= 6
    _close(errors, [theirs.params[name].stderr for name in theirs.var_names])
    correlation = solution.correlation()
    deviations = np.sqrt(np.diag(theirs.covar))
    np.testing.assert_allclose(
        correlation, theirs.covar / np.outer(deviations, deviations), rtol=1e-6, atol=1e-6
    )
    assert np.all(np.diag(correlation) == 1)
    listed = {frozenset((one, other)): value for one, other, value in ours["correlations"]}
    names = [each["name"] for each in ours["parameters"]]
    for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
        if abs(correlation[i, j]) > 0.1:
            value = listed.pop(frozenset((names[i], names[j])))
            assert value == pytest.approx(correlation[i, j], rel=1e-9)
    assert not listed


@pytest.mark.slow
def test_r_squared_is_that_of_lmfit():
    def curve(x, height, rate):
        return height * jax.numpy.exp(-rate * x)

    x = np.linspace(0, 2, 37)
    y = 2 * np.exp(-3 * x) + 0.05 * np.cos(40 * x)
    *_, information, _, _ = lmjax.curve_fit(curve, x, y, full_output=True)
    theirs = lmfit.Model(lambda x, height, rate: height * np.exp(-rate * x)).fit(
        y, x=x, height=1, rate=1
    )
    report = information["solution"].summary()
    _close(report["r_squared"], theirs.rsquared)
    _close([report["aic"], report["bic"]], [theirs.aic, theirs.bic])
    assert [each["name"] for each in report["parameters"]] == ["height", "rate"]
