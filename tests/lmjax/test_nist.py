"""The certified problems, with default options: parameters, standard errors, and no false success."""

import numpy as np
import pytest

import lmjax
from tests.problems.nist import problems


@pytest.mark.parametrize("problem", problems(), ids=lambda problem: problem.name)
def test_certified_digits(problem):
    residual_fn = problem.residuals()
    for start in (1, 2):
        solution = lmjax.least_squares(residual_fn, problem.start(start), problem.data)
        digits = problem.certified_digits(solution.params)
        assert digits >= 11, solution.status
        assert solution.status.success, solution.status
        # Lanczos1's residuals are rounding errors of its data in float64, and so is their standard deviation.
        assert problem.digits_of_standard_errors(solution.standard_errors()) >= (9 if problem.name != "Lanczos1" else 2)


def test_the_oracle_would_notice():
    problem = problems()[0]
    certified = np.array([float(value) for value in problem.record["polished_params"]])
    assert problem.certified_digits(certified * (1 + 1e-5)) == pytest.approx(5, abs=0.1)
    assert problem.certified_digits(np.array([np.nan, 1.0])) == -1
