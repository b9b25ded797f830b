"""Models in which a row depends on the others are refused by every fit by rows."""

import jax.numpy as jnp
import numpy as np
import pytest

import lmjax

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, :1]
#: At 0 nothing of the inputs is seen in the outputs.
START = {"w": np.zeros((3, 1))}

MIXED = {
    "mean": lambda p, x: (x - x.mean(0)) @ p["w"],
    "largest": lambda p, x: (x - x.max(0)) @ p["w"],
    "order": lambda p, x: x[::-1] @ p["w"],
    "sums": lambda p, x: jnp.cumsum(x, 0) @ p["w"],
    "place": lambda p, x: (x * jnp.arange(len(x))[:, None]) @ p["w"],
    "number of rows": lambda p, x: x @ p["w"] + jnp.asarray(Y[: 40 if len(x) == 40 else 3]),
}
APART = {
    "line": lambda p, x: x @ p["w"],
    "there and back": lambda p, x: (p["w"].T @ x.T).T,
    "not finite away from the start": lambda p, x: x @ jnp.log(1 - p["w"] ** 2 * 1e9),
}


@pytest.mark.parametrize("case", MIXED)
def test_fits_refuse_models_that_mix_rows(case):
    model = MIXED[case]
    with pytest.raises(ValueError, match=r"model_fn: .*least_squares"):
        lmjax.fit(model, START, X, Y, epochs=1, verbose=0)


def test_so_do_streams_and_loops_of_ones_own():
    batches = [(X[start : start + 10], Y[start : start + 10]) for start in range(0, 40, 10)]
    with pytest.raises(ValueError, match="depend on the other rows"):
        lmjax.fit(MIXED["mean"], START, batches, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="depend on the other rows"):
        lmjax.Trainer(MIXED["mean"], START).step(X, Y)


@pytest.mark.parametrize("case", APART)
@pytest.mark.slow
def test_others_are_fitted(case):
    assert len(lmjax.fit(APART[case], START, X, Y, epochs=1, verbose=0).history["loss"]) == 1


@pytest.mark.slow
def test_inputs_of_whole_numbers_and_of_several_arrays():
    table = {"rows": np.random.default_rng(1).normal(size=(5, 1))}
    x = {"index": np.arange(40) % 5, "factor": X[:, :1]}
    lmjax.fit(lambda p, x: p["rows"][x["index"]] * x["factor"], table, x, Y, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="depend on the other rows"):
        lmjax.fit(
            lambda p, x: p["rows"][x["index"]] * x["factor"].sum(), table, x, Y, epochs=1, verbose=0
        )
