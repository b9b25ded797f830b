"""How many compiled programs a fit runs: JAX's own profiler counts them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.profiler import ProfileData

import lmjax

X = np.linspace(-1, 1, 200)[:, None]
Y = np.sin(3 * X)
EPOCHS = 40


def model_fn(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def executions(folder, run):
    """The programs that the runtime executed during ``run()``."""
    with jax.profiler.trace(str(folder)):
        run()
    (file,) = folder.glob("**/*.xplane.pb")
    planes = ProfileData.from_file(str(file)).planes
    return sum(
        "ExecuteHelper" in event.name
        for plane in planes
        for line in plane.lines
        for event in line.events
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "most"),
    [({}, EPOCHS / 2), ({"batch_size": 20}, 8 * EPOCHS)],
    ids=["full batch", "10 batches an epoch"],
)
def test_a_step_is_less_than_a_dispatch(options, most, tmp_path):
    """Many steps run in one program; an epoch of batches adds the shuffling and the loss on all
    data.
    """
    generator = np.random.default_rng(0)
    params = {
        "w": generator.normal(size=(1, 8)),
        "b": generator.normal(size=8),
        "v": generator.normal(size=(8, 1)),
    }
    # Batches know no tolerances.
    tolerances = {} if "batch_size" in options else {"gtol": 0, "ftol": 0, "xtol": 0}
    solver = lmjax.LevenbergMarquardt(**tolerances)

    def run():
        result = lmjax.fit(
            model_fn, params, X, Y, epochs=EPOCHS, solver=solver, verbose=0, **options
        )
        assert len(result.history["loss"]) == EPOCHS

    run()  # compiles
    assert 0 < executions(tmp_path, run) <= most
