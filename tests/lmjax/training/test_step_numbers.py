"""What a history tells of steps: checked against gradients and Gauss-Newton models that are written
out.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax import Status
from lmjax._src.plots.names import OF_STEPS

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 2))
Y = X[:, :1] - X[:, 1:] ** 2 + RANDOM.normal(size=(40, 1))
SOLVERS = {
    "normal": lmjax.Cholesky(),
    "dual": lmjax.DualCholesky(),
    "jacobian": lmjax.QR(),
    "operator": lmjax.ConjugateGradients(),
}


def network(params, x):
    return jnp.tanh(x @ params["kernel"]) @ params["out"]


def start(dtype=np.float64):
    random = np.random.default_rng(1)
    return {
        "kernel": random.normal(size=(2, 3)).astype(dtype),
        "out": random.normal(size=(3, 1)).astype(dtype),
    }


def fit(streamed=False, dtype=np.float64, **options):
    """With a record of the parameters after every epoch, by fits that are one epoch longer."""
    data = ([(X[:20], Y[:20]), (X[20:], Y[20:])],) if streamed else (X, Y)
    return lmjax.fit(network, start(dtype), *data, **{"epochs": 6, "verbose": 0} | options)


def flat(params):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def mse(params):
    return jnp.mean((network(params, X) - Y) ** 2)


@pytest.mark.parametrize(
    ("form", "streamed"),
    [
        ("normal", True),
        ("dual", False),
        *(pytest.param(form, False, marks=pytest.mark.slow) for form in SOLVERS if form != "dual"),
    ],
)
def test_against_the_gradient_and_the_length_of_the_way(form, streamed):
    solver = lmjax.LevenbergMarquardt(linear_solver=SOLVERS[form])
    points = [start(), *(fit(streamed, solver=solver, epochs=n).params for n in range(1, 5))]
    history = fit(streamed, solver=solver, epochs=4).history
    with jax.enable_x64(True):
        gradients = [flat(jax.grad(mse)(jax.tree.map(jnp.asarray, point))) for point in points]
    lengths = [np.linalg.norm(flat(b) - flat(a)) for a, b in itertools.pairwise(points)]
    expected = [np.linalg.norm(gradient) for gradient in gradients[:-1]]
    assert history["gradient_norm"] == pytest.approx(expected, rel=1e-7)
    assert history["step_norm"] == pytest.approx(lengths, rel=1e-7)
    assert min(history["damping"]) > 0
    assert all(isinstance(count, int) and count >= 1 for count in history["attempts"])


def test_the_gain_ratio_of_a_linear_model_is_one():
    line = lambda p, x: x @ p  # noqa: E731
    history = lmjax.fit(line, np.zeros((2, 1)), X, Y, epochs=3, verbose=0).history
    assert history["gain_ratio"][0] == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"batch_size": 10}], ids=["rows", "batches"])
@pytest.mark.parametrize("streamed", [False, True])
def test_every_epoch_has_them(streamed, options, dtype):
    seen = []
    result = fit(streamed, dtype, callbacks=lambda epoch, logs: seen.append(logs), **options)
    names = {name for name in OF_STEPS if name != "trust_region_radius"}
    assert set(result.history) == {"loss", "seconds", *names}
    assert all(len(values) == 6 for values in result.history.values())
    assert [logs["damping"] for logs in seen] == result.history["damping"]


def test_rules_with_a_radius_tell_it():
    solver = lmjax.LevenbergMarquardt(damping=lmjax.TrustRegion())
    history = fit(solver=solver).history
    assert "damping" not in history
    assert min(history["trust_region_radius"]) > 0
    assert history["step_norm"][0] > 0


@pytest.mark.parametrize("streamed", [False, True])
def test_min_grad_ends_a_fit(streamed, capsys):
    plain = fit(streamed, epochs=40).history["gradient_norm"]
    limit = sorted(plain)[len(plain) // 2]
    result = fit(streamed, epochs=40, min_grad=limit, verbose=2)
    number = next(place for place, norm in enumerate(plain) if norm <= limit)
    assert result.status is Status.MIN_GRADIENT
    assert not result.status.success
    assert len(result.history["loss"]) == number + 1
    lines = capsys.readouterr().out.splitlines()
    assert not any(name in line for line in lines for name in OF_STEPS)


def test_min_grad_is_refused_where_it_has_no_meaning():
    with pytest.raises(ValueError, match="min_grad: batches know only their own"):
        fit(min_grad=1e-3, batch_size=10)
    with pytest.raises(ValueError, match="min_grad"):
        fit(min_grad=-1.0)
