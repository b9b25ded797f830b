"""Which curves take their data point by point, and fits of those to data of many lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.least_squares.curve_fit import _length_to_compile_for
from lmjax._src.least_squares.pointwise import is_pointwise

BACKGROUND = np.linspace(0.0, 1.0, 10)


def _sized(x, p):
    return p[0] * x / x.size


def _long(x, p):
    return p[0] * x if x.size < 12 else p[1] * x


APART = {
    "exponential": lambda x, p: p[0] * jnp.exp(-p[1] * x) + p[2],
    "relu": lambda x, p: jax.nn.relu(x - p[0]) * p[1],
    "where": lambda x, p: jnp.where(x > p[0], p[1] * x, jnp.log1p(x)),
    "sum over peaks": lambda x, p: jnp.sum(p[:, None] * jnp.exp(-((x - p[:, None]) ** 2)), axis=0),
    "polynomial": lambda x, p: jnp.polyval(p, x),
    "powers": lambda x, p: jnp.stack([x**0, x, x**2], axis=1) @ p,
    "jit": jax.jit(lambda x, p: jnp.tanh(p[0] * x)),
    "vmap": lambda x, p: jax.vmap(lambda one: jnp.linalg.norm(p * one))(x),
    "special": lambda x, p: jax.scipy.special.erf(p[0] * x) + jax.scipy.special.gammaln(p[1] + x),
    "sinc": lambda x, p: p[0] * jnp.sinc(p[1] * x),
    "constant": lambda x, p: jnp.full_like(x, 2.0) * p[0],
}
MIXED = {
    "mean": lambda x, p: p[0] * (x - x.mean()),
    "largest": lambda x, p: p[0] * x / x.max(),
    "cumulative": lambda x, p: p[0] * jnp.cumsum(x),
    "reversed": lambda x, p: p[0] * x[::-1],
    "sorted": lambda x, p: p[0] * jnp.sort(x),
    "differences": lambda x, p: p[0] * jnp.gradient(x),
    "first": lambda x, p: p[0] * x / x[0],
    "outer": lambda x, p: p[0] * jnp.abs(x[:, None] - x[None, :]).sum(1),
    "convolution": lambda x, p: jnp.convolve(x, p, mode="same"),
    "normalised": lambda x, p: p[0] * x / jnp.linalg.norm(x),
    "length": _sized,
    "branch on length": _long,
    "captured": lambda x, p: p[0] * x + BACKGROUND,
    "no points": lambda x, p: p,
    "grid": lambda x, p: p[0] * jnp.linspace(0, 1, x.size),
    "callback": lambda x, p: (
        jax.pure_callback(np.sort, jax.ShapeDtypeStruct(x.shape, x.dtype), x) * p[0]
    ),
    "number": lambda x, p: p[0],
}


def _shapes(*lengths):
    return tuple(jax.ShapeDtypeStruct((length,), np.float32) for length in lengths)


@pytest.mark.parametrize("name", APART)
def test_points_apart(name):
    assert is_pointwise(APART[name], _shapes(10, 12), jax.ShapeDtypeStruct((3,), np.float32))


@pytest.mark.parametrize("name", MIXED)
def test_points_together(name):
    assert not is_pointwise(MIXED[name], _shapes(10, 12), jax.ShapeDtypeStruct((3,), np.float32))


def test_several_predictors():
    xs = tuple(
        {"t": jax.ShapeDtypeStruct((2, n), np.float32), "u": jax.ShapeDtypeStruct((n,), np.float32)}
        for n in (10, 12)
    )
    p = jax.ShapeDtypeStruct((3,), np.float32)
    assert is_pointwise(lambda x, p: p[0] * x["t"][0] + p[1] * x["t"][1] * x["u"], xs, p)
    assert not is_pointwise(lambda x, p: p[0] * x["t"][0] + p[1] * x["u"][0], xs, p)


def test_lengths_are_few():
    lengths = [_length_to_compile_for(count) for count in range(1, 5000)]
    assert all(
        count <= length <= max(1.25 * count, count) for count, length in enumerate(lengths, 1)
    )
    assert lengths == sorted(lengths)
    assert len(set(lengths[500:1000])) <= 5
    assert lengths[:8] == list(range(1, 9))


def curve(x, a, b, c):
    return a * jnp.exp(-b * x) + c


def _measured(count):
    x = np.linspace(0, 4, count)
    return x, 2.5 * np.exp(-1.3 * x) + 0.5 + 0.05 * np.cos(37 * x)


@pytest.mark.slow
def test_new_lengths_compile_nothing(caplog):
    lmjax.curve_fit(curve, *_measured(57))
    with jax.log_compiles(), caplog.at_level("WARNING"):
        for count in (58, 61, 63, 64 - 4):
            lmjax.curve_fit(curve, *_measured(count))
    assert "Compiling" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sigma": 0.1},
        {"absolute_sigma": True, "sigma": "vector"},
        {"loss": "soft_l1"},
        {"bounds": (0, 2.4)},
    ],
    ids=str,
)
def test_filled_up_data_give_what_the_data_give(options):
    """Covariances and residuals as well; a curve that is not known to be pointwise is fitted at its
    own length.
    """
    x, y = _measured(57)
    if isinstance(options.get("sigma"), str):
        options = {**options, "sigma": np.linspace(0.05, 0.1, 57)}

    def whole(x, a, b, c):
        return curve(x, a, b, c) + 0 * jnp.cumsum(x)

    filled, own = (lmjax.curve_fit(f, x, y, full_output=True, **options) for f in (curve, whole))
    np.testing.assert_allclose(filled[0], own[0], rtol=1e-9)
    np.testing.assert_allclose(filled[1], own[1], rtol=1e-7)
    np.testing.assert_allclose(filled[2]["fvec"], own[2]["fvec"], atol=1e-9)
    assert filled[2]["fvec"].shape == (57,)
