"""Options that would have no effect are refused by name, at every door; those that have are not."""

import dataclasses

import numpy as np
import pytest

import lmjax
from lmjax._src.levenberg_marquardt.effects import COUNTED
from lmjax._src.levenberg_marquardt.options import Options

pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

#: Another value than the default for each option.
OTHERS = {
    "damping": lmjax.Multiplicative(),
    "scaling": lmjax.JacobianDiagonal(),
    "linear_solver": lmjax.QR(),
    "jacobian": "reverse",
    "jacobian_chunk": 1,
    "jacobian_dtype": "float32",
    "geodesic_acceleration": False,
    "acceleration_limit": 0.5,
    "acceptance": 1e-3,
    "non_monotonic": 2,
    "halvings": 3,
    "max_steps": 7,
    "max_attempts": 9,
    "gtol": 1e-3,
    "ftol": 1e-3,
    "xtol": 1e-3,
    "confirmation": 1e-2,
    "polish": False,
    "second_run": False,
    "curvature_sample": 30,
}

X = np.linspace(-1.0, 1.0, 12)[:, None]
Y = np.tanh(2 * X)


def model_fn(params, x):
    return params[0] * x + params[1]


def residual_fn(params):
    return params - np.arange(2.0)


def trainer(solver):
    lmjax.Trainer(model_fn, np.ones(2), solver=solver).step(X, Y)


def in_batches(solver):
    lmjax.fit(model_fn, np.ones(2), X, Y, solver=solver, batch_size=4, epochs=1, verbose=0)


def solution():
    return lmjax.least_squares(lambda p, x, y: model_fn(p, x) - y, np.ones(2), (X, Y))


DOORS = {
    "a fit of a model": [
        lambda solver: lmjax.fit(model_fn, np.ones(2), X, Y, solver=solver, epochs=1, verbose=0),
    ],
    "a fit in batches": [in_batches, trainer],
    "least_squares": [lambda solver: lmjax.least_squares(residual_fn, np.ones(2), solver=solver)],
    "multi_start": [
        lambda solver: lmjax.multi_start(
            0, residual_fn, (np.zeros(2), np.ones(2)), num_starts=2, solver=solver
        ),
    ],
    "profile_intervals": [lambda solver: solution().profile_intervals(solver=solver)],
    "bootstrap": [lambda solver: solution().bootstrap(0, 4, solver=solver)],
    "contour": [lambda solver: solution().contour(0, 1, num=5, solver=solver)],
    "a loop of one's own": [lambda solver: solver.init(residual_fn, np.ones(2))],
    "lmjax.optax": [
        lambda solver: lmjax.optax.levenberg_marquardt(residual_fn, solver).init(np.ones(2))
    ],
}


def test_every_option_is_asked_for_and_counts_somewhere():
    names = {field.name for field in dataclasses.fields(Options)}
    assert set(OTHERS) == names
    assert set(DOORS) == set(COUNTED)
    assert set().union(*COUNTED.values()) == names


@pytest.mark.parametrize("door", DOORS)
def test_what_has_no_effect_is_refused_by_name(door):
    for name in sorted(set(OTHERS) - COUNTED[door]):
        for call in DOORS[door]:
            with pytest.raises(ValueError, match=f"solver: {name}="):
                call(lmjax.LevenbergMarquardt(**{name: OTHERS[name]}))


@pytest.mark.parametrize("door", DOORS)
def test_what_has_an_effect_is_taken(door):
    options = {name: OTHERS[name] for name in COUNTED[door] - {"jacobian_dtype"}}
    for call in DOORS[door]:
        call(lmjax.LevenbergMarquardt(**options))


def test_the_defaults_of_a_door_are_no_options_given():
    from lmjax._src.training.fit import FIT_SOLVER

    in_batches(dataclasses.replace(FIT_SOLVER, scaling=lmjax.IdentityScaling()))


def curve_fit(solver):
    return lmjax.curve_fit(lambda x, a: a * x, X[:, 0], Y[:, 0], solver=solver, ftol=1e-8)


@pytest.mark.parametrize("given", ["lm", "", {}, lmjax.QR(), lmjax.LevenbergMarquardt], ids=repr)
@pytest.mark.parametrize("door", [*sorted(set(DOORS) - {"a loop of one's own"}), "curve_fit"])
def test_what_is_no_solver_is_refused_by_name(door, given):
    for enter in DOORS.get(door, [curve_fit]):
        with pytest.raises(TypeError, match=r"^solver: expected a lmjax\.LevenbergMarquardt"):
            enter(given)
