"""Functions with kinks: a poor step that is only too long is halved, and λ falls; smooth functions
take the steps that they took.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmjax
from benchmarks.problems.rectified import Net, lbfgs, network
from lmjax._src.levenberg_marquardt.halving import Part, best_part
from lmjax._src.levenberg_marquardt.step import HOST
from lmjax._src.runtime.jaxpr_costs import may_have_kinks
from lmjax._src.training.fit import FIT_SOLVER

DTYPES = ("float32", "float64")
PLAIN = dataclasses.replace(FIT_SOLVER, halvings=0)
STEPS = 40

#: A step of the large network takes as long as 11 evaluations of loss and gradient: what 40 steps
#: took gave L-BFGS 436.
EVALUATIONS = 500

#: Of networks of 1 481 weights and 200 rows.
SMALL = (9, 20, 20, 20, 20, 1)


def part_of(deficit, share):
    """A part of a step that promises 2t - t² and whose deficit is as given."""
    predicted = share * (2 - share)
    reduction = predicted * (1 - deficit(share))
    return Part(share, (), share, predicted, reduction, reduction > 1e-4 * predicted)


def best(deficit, most=8, noise=0.0, missed=0.0):
    whole = part_of(deficit, jnp.ones(()))
    loop, cond = HOST.loop, HOST.cond
    return best_part(
        whole,
        lambda share: part_of(deficit, share),
        lambda: jnp.asarray(missed),
        jnp.asarray(noise),
        most,
        loop,
        cond,
    )


@settings(deadline=None, max_examples=30)
@given(deficit=st.floats(0.55, 100), power=st.floats(2.05, 5))
def test_a_deficit_that_falls_with_the_square_is_no_kink(deficit, power):
    """The whole step is judged as it was, after one look at its half."""
    part, kinked, evaluations = best(lambda t: deficit * t**power)
    assert not kinked
    assert evaluations == 1
    assert part.params == 1


@settings(deadline=None, max_examples=30)
@given(deficit=st.floats(1.01, 8), power=st.floats(0.8, 1.9))
def test_a_deficit_that_falls_more_slowly_is_one(deficit, power):
    """The first half that lowers the cost is taken."""
    part, kinked, evaluations = best(lambda t: deficit * t**power)
    assert kinked
    assert part.acceptable
    assert part.params == 0.5**evaluations
    assert not part_of(lambda t: deficit * t**power, 2 * part.params).acceptable


@settings(deadline=None, max_examples=30)
@given(deficit=st.floats(0.55, 0.99), power=st.floats(0.3, 1.9))
def test_of_an_acceptable_step_and_its_half_the_better_is_taken(deficit, power):
    part, kinked, evaluations = best(lambda t: deficit * t**power)
    assert kinked
    assert evaluations == 1
    whole, half = (
        part_of(lambda t: deficit * t**power, jnp.asarray(t)).reduction for t in (1.0, 0.5)
    )
    assert part.reduction == max(whole, half)


@settings(deadline=None, max_examples=30)
@given(missed=st.floats(1.2, 50), power=st.floats(2.1, 5), beyond=st.floats(0, 1))
def test_curvature_that_the_model_misses_is_no_kink(missed, power, beyond):
    """As of large residuals: its deficit falls with the part itself, and beyond it is what falls
    with the square.
    """
    part, kinked, evaluations = best(
        lambda t: 0.5 * t * missed / (2 - t) + beyond * t**power, missed=missed
    )
    assert not kinked
    assert evaluations == 1
    assert part.params == 1


@pytest.mark.parametrize(
    ("deficit", "noise"), [(0.4, 0.0), (3.0, 2.0), (np.inf, 0.0), (np.nan, 0.0)]
)
def test_good_steps_and_such_that_say_nothing_are_not_compared(deficit, noise):
    _, kinked, evaluations = best(lambda t: deficit * t**0.5, noise=noise)
    assert not kinked
    assert evaluations == 0


def test_halvings_end():
    part, kinked, evaluations = best(lambda _: 2.0, most=5)
    assert not part.acceptable
    assert kinked
    assert evaluations == 5


def test_a_part_that_is_not_finite_is_no_kink():
    _, kinked, evaluations = best(lambda t: jnp.where(t < 1, jnp.nan, 2.0))
    assert not kinked
    assert evaluations == 1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "net",
    [
        Net("with units", 0, 800, 200, SMALL),
        pytest.param(Net("with units", 1, 400, 200, SMALL), marks=pytest.mark.slow),
        pytest.param(Net("standardized", 1, 200, 200, SMALL), marks=pytest.mark.slow),
        Net("categories", 0, 200, 200, SMALL),
    ],
    ids=lambda net: f"{net.data} {net.seed}",
)
def test_networks_of_relu_go_on_where_adam_left_them(net, dtype):
    """At least as far as L-BFGS comes in the same time; without halvings the first ends at 6.2 of
    7.3, and L-BFGS at 2.6.
    """
    losses, _ = lbfgs(net, dtype, EVALUATIONS)
    result = lmjax.fit(net.model, *net.in_precision(dtype), epochs=STEPS, verbose=0)
    floor = 1e-3 * losses[0]  # both interpolate
    assert min(result.history["loss"]) <= max(1.01 * losses[-1], floor)


SMOOTH = [jnp.tanh, jax.nn.sigmoid, jax.nn.gelu, jnp.exp, jnp.sin, jnp.square]
KINKED = [jax.nn.relu, jax.nn.leaky_relu, jnp.abs, jax.nn.elu, jnp.sort, jax.nn.hard_tanh]


@pytest.mark.parametrize("function", SMOOTH + KINKED)
def test_where_derivatives_may_jump(function):
    expected = function in KINKED
    weights = jnp.ones((3, 3))
    for model in (
        lambda x: function(x @ weights),
        jax.jit(lambda x: jax.lax.scan(lambda c, _: (function(c), None), x, None, 3)[0]),
    ):
        assert may_have_kinks(jax.make_jaxpr(model)(jnp.ones((4, 3))).jaxpr) is expected


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_smooth_network_takes_the_same_steps(seed):
    """sinc(10x) by 61 weights: its poor steps, which there are, are no worse than their halves say
    of a smooth function.
    """
    x = np.linspace(-1, 1, 400)[:, None]
    random, model = np.random.default_rng(seed), network("tanh")
    weights = [
        (random.uniform(-0.5, 0.5, (1, 20)), np.zeros(20)),
        (random.uniform(-0.5, 0.5, (20, 1)), np.zeros(1)),
    ]
    runs = [
        lmjax.fit(model, weights, x, np.sinc(10 * x / np.pi), epochs=40, verbose=0, solver=s)
        for s in (FIT_SOLVER, PLAIN)
    ]
    np.testing.assert_allclose(*(run.history["loss"][:30] for run in runs), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["with units", "standardized"])
def test_a_large_network_of_relu(data, dtype):
    net = Net(data, 0, {"with units": 200, "standardized": 50}[data])
    losses, _ = lbfgs(net, dtype, EVALUATIONS)
    result = lmjax.fit(net.model, *net.in_precision(dtype), epochs=STEPS, verbose=0)
    assert min(result.history["loss"]) <= max(1.01 * losses[-1], 1e-3 * losses[0])


def kinked_residuals(params, x, y):
    """Two bends on a line, whose places are parameters."""
    return params[0] * jax.nn.relu(x - params[1]) + params[2] * jnp.abs(x - params[3]) - y


def _kinked():
    with jax.enable_x64(True):
        x = np.linspace(-2, 2, 40)
        y = (
            1.5 * np.maximum(x + 0.7, 0)
            - 0.8 * np.abs(x - 0.9)
            + 0.3 * np.random.default_rng(0).normal(size=40)
        )
    return x, y


@pytest.mark.slow
def test_least_squares_has_them_on_request_and_alike_alone_and_in_batches():
    """The loop over parts is the same for each way in which attempts are made."""
    solver = lmjax.LevenbergMarquardt(halvings=8, max_steps=25, polish=False)
    x, y = _kinked()
    starts = np.random.default_rng(1).normal(size=(5, 4))
    with jax.enable_x64(True):
        batched = jax.jit(
            jax.vmap(lambda s: lmjax.least_squares(kinked_residuals, s, (x, y), solver=solver))
        )(starts)
        for index, start in enumerate(starts):
            alone = jax.jit(
                lambda s: lmjax.least_squares(kinked_residuals, s, (x, y), solver=solver)
            )(start)
            assert int(alone.num_evaluations) == int(batched.num_evaluations[index])
            np.testing.assert_allclose(alone.cost, batched.cost[index], rtol=1e-8)


def test_a_number_of_halvings_is_asked_for():
    with pytest.raises(ValueError, match="halvings: expected a whole number of at least 0, got -1"):
        lmjax.LevenbergMarquardt(halvings=-1)


@pytest.mark.slow
@pytest.mark.parametrize("damping", [lmjax.TrustRegion(), lmjax.Multiplicative()])
def test_every_rule_of_damping_goes_with_them(damping):
    net = Net("standardized", 2, 5, 100, (9, 10, 10, 1))
    solver = dataclasses.replace(FIT_SOLVER, damping=damping)
    result = lmjax.fit(net.model, *net.in_precision("float32"), epochs=10, verbose=0, solver=solver)
    assert min(result.history["loss"]) < 0.9 * result.loss_at(net.trained)
