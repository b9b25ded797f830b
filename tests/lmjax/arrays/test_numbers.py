"""What becomes of each kind of number that enters a fit: fitted as NumPy fits it in float64, or
refused by name.
"""

import datetime
from fractions import Fraction

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.experimental.sparse import BCOO

import lmjax
import lmjax.optax
from lmjax._src.arrays import numbers

ROWS = 8
LARGE = np.arange(ROWS) * 10**9  # int64; beyond 32 bits from the third row on
START = {"slope": 0.0, "intercept": 0.0}
KINDS = [np.dtype(kind) for kind in "?bhilqBHILQefdg"] + [np.dtype(ml_dtypes.bfloat16)]


def line(params, x):
    return params["slope"] * x + params["intercept"]


def scaled_line(params, x):
    return line(params, x["numbers"] / x["size"])


def start(dtype):
    return {name: np.asarray(value, dtype) for name, value in START.items()}


def best_line(x, y):
    matrix = np.stack([np.asarray(x, np.float64), np.ones(len(x))], axis=1)
    return np.linalg.lstsq(matrix, np.asarray(y, np.float64), rcond=None)[0]


def assert_is_best(params, x, y, dtype):
    found = np.array([params["slope"], params["intercept"]], np.float64)
    predicted = np.asarray(x, np.float64) * found[0] + found[1]
    expected = np.asarray(x, np.float64) * best_line(x, y)[0] + best_line(x, y)[1]
    size = np.abs(np.asarray(y, np.float64)).max() + 1e-300
    # A fit ends where the loss, a sum over the rows that is quadratic in the deviation, falls by no
    # more than its rounding.
    assert np.abs(predicted - expected).max() <= 4 * ROWS * np.finfo(dtype).eps ** 0.5 * size


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_of_64_bits_are_quantities(dtype):
    """As the targets of a fit, of a stream, of a trainer's batch, as validation data and as Python
    integers.
    """
    x = np.linspace(0, 1, ROWS)
    slope = 7e9
    huge = (
        [2**70 * int(k) for k in range(ROWS)]
        if dtype == np.float64
        else [2**61 * int(k) for k in range(ROWS)]
    )
    for y in (LARGE, LARGE.astype(np.uint64), LARGE.tolist(), LARGE.astype(object), huge):
        result = lmjax.fit(line, start(dtype), x, y, validation_data=(x, y), epochs=20, verbose=0)
        assert float(result.params["slope"]) == pytest.approx(y[1] * (ROWS - 1), rel=1e-5)
        assert result.history["val_loss"] == result.history["loss"]
    batches = [(x[:4], LARGE[:4]), (x[4:], LARGE[4:])]
    streamed = lmjax.fit(line, start(dtype), batches, validation_data=batches, epochs=20, verbose=0)
    assert float(streamed.params["slope"]) == pytest.approx(slope, rel=1e-5)
    trainer = lmjax.Trainer(line, start(dtype))
    assert trainer.step(x, LARGE) == pytest.approx(np.mean(LARGE.astype(float) ** 2), rel=1e-6)
    weighted = lmjax.fit(line, start(dtype), x, x, sample_weight=LARGE + 1, epochs=2, verbose=0)
    assert weighted.loss_at(start(dtype)) == pytest.approx(np.mean((LARGE + 1.0) * x**2), rel=1e-6)


def residuals(params, x, y):
    return line(params, x) - y


@pytest.mark.slow
def test_integers_that_may_be_indices_are_never_wrapped():
    """In single precision they are refused with a name, in double they are exact."""
    x = np.linspace(0, 1, ROWS)
    single = start(np.float32)
    wide = r"holds 7000000000.*32 bits only; pass quantities as floating-point numbers"
    with pytest.raises(ValueError, match=f"x: {wide}"):
        lmjax.fit(line, single, LARGE, x, verbose=0)
    with pytest.raises(ValueError, match=rf"x\['a'\]: {wide}"):
        lmjax.fit(lambda p, x: line(p, x["a"]), single, {"a": LARGE, "b": x}, x, verbose=0)
    with pytest.raises(ValueError, match=rf"args\[1\]: {wide}"):
        lmjax.least_squares(residuals, single, (x, LARGE))
    with pytest.raises(ValueError, match=rf"args\[1\]: {wide}"):
        lmjax.multi_start(
            0,
            residuals,
            (single, jax.tree.map(lambda leaf: leaf + np.float32(1), single)),
            (x, LARGE),
        )
    with pytest.raises(ValueError, match=rf"residual_fn.*: {wide}"):
        lmjax.least_squares(
            jax.tree_util.Partial(lambda y, params, x: residuals(params, x, y), LARGE), single, (x,)
        )
    solver = lmjax.LevenbergMarquardt()
    with pytest.raises(ValueError, match=rf"args\[1\]: {wide}"):
        solver.step(residuals, single, solver.init(residuals, single), (x, LARGE))
    with pytest.raises(ValueError, match=rf"args\[1\]: {wide}"):
        jax.jit(lambda p: lmjax.least_squares(residuals, p, (x, LARGE)).params)(single)
    link = lmjax.optax.levenberg_marquardt(residuals)
    with pytest.raises(ValueError, match=rf"args\[1\]: {wide}"):
        link.update(None, link.init(single), single, args=(x, LARGE))
    double = lmjax.least_squares(residuals, START, (x, LARGE))
    assert float(double.params["slope"]) == pytest.approx(7e9, rel=1e-12)
    small = lmjax.least_squares(residuals, single, (x, LARGE // 10**9))
    assert float(small.params["slope"]) == pytest.approx(7, rel=1e-5)
    with jax.enable_x64(True):
        held = jnp.asarray(LARGE)
    assert held.dtype == jnp.int64
    with pytest.raises(ValueError, match=rf"args\[1\]: {wide}"):
        lmjax.least_squares(residuals, single, (x, held))
    assert float(
        lmjax.fit(line, single, x, held, epochs=20, verbose=0).params["slope"]
    ) == pytest.approx(7e9, rel=1e-5)


@pytest.mark.slow
def test_class_indices_stay_integers():
    x = np.linspace(-1, 1, 6)[:, None]

    def model(params, x):
        return jax.nn.softmax(x @ params)

    params = np.array([[0.1, 0.2, 0.3]], np.float32)
    y = np.array([0, 0, 1, 1, 2, 2])
    losses = [
        lmjax.fit(
            model,
            params,
            x,
            y.astype(kind),
            loss="sparse_categorical_crossentropy",
            epochs=3,
            verbose=0,
        ).history["loss"]
        for kind in (np.int64, np.uint8, np.float64)
    ]
    assert losses[0] == losses[1] == losses[2]
    for wrong in (3, -1, 2**32, 2**40 + 1):
        bad = y.copy()
        bad[4] = wrong
        for data in ({"x": x, "y": bad}, {"x": [(x[:3], bad[:3]), (x[3:], bad[3:])]}):
            with pytest.raises(
                ValueError,
                match=rf"y.*class indices from 0 to 2.*got {wrong} in row (4|1;.*counted from "
                r"row 3)",
            ):
                lmjax.fit(model, params, **data, loss="sparse_categorical_crossentropy", verbose=0)
        with pytest.raises(ValueError, match=rf"validation y.*got {wrong}"):
            lmjax.fit(
                model,
                params,
                x,
                y,
                validation_data=(x, bad),
                loss="sparse_categorical_crossentropy",
                verbose=0,
            )
        with pytest.raises(ValueError, match=f"got {wrong}"):
            lmjax.Trainer(model, params, loss="sparse_categorical_crossentropy").step(x, bad)


masked = np.ma.masked_array(np.linspace(0, 1, ROWS), mask=np.arange(ROWS) == 3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (masked, "1 entries are masked"),
        (list(masked[None].repeat(ROWS, 0)), r"(8 entries|y\[0\]: 1 entries) are masked"),
        (np.arange(ROWS) + 1j, "expected real numbers, got dtype complex128"),
        (np.arange(ROWS).astype("M8[s]"), "got dates.*subtract"),
        (np.arange(ROWS).astype("m8[s]"), "got time differences"),
        (np.arange(ROWS).astype(str), "got text"),
        (np.arange(ROWS).astype(bytes), "got bytes"),
        (np.zeros(ROWS, [("a", float)]), "got records"),
        ([*range(ROWS - 1), None], r"got None \(NoneType\) at \(7,\)"),
        ([*range(ROWS - 1), "7"], "got text"),
        ([datetime.datetime(2026, 1, 1)] * ROWS, "got datetime"),
        ([[1.0], [1.0, 2.0], *[[1.0]] * (ROWS - 2)], "cannot be turned into one array"),
        (BCOO.fromdense(jnp.ones(ROWS)), "sparse BCOO"),
    ],
)
def test_what_is_no_number_is_refused_by_name(wrong, words):
    x = np.linspace(0, 1, ROWS)
    fit = {"epochs": 1, "verbose": 0}
    for name, data in (("y", (x, wrong)), ("validation y", None)):
        given = (
            {"x": data[0], "y": data[1]}
            if data
            else {"x": x, "y": x, "validation_data": (x, wrong)}
        )
        with pytest.raises((TypeError, ValueError), match=f"^{name}.*({words})"):
            lmjax.fit(line, START, **given, **fit)
    for call in (
        lambda: lmjax.fit(line, START, [(x, x), (x, wrong)], **fit),
        lambda: lmjax.fit(line, START, x, x, sample_weight=wrong, **fit),
        lambda: lmjax.Trainer(line, START).step(x, wrong),
        lambda: lmjax.curve_fit(lambda x, a: a * x, x, wrong),
        lambda: lmjax.curve_fit(lambda x, a: a * x, x, x, sigma=wrong),
        lambda: lmjax.fit(
            line,
            START,
            x if isinstance(wrong, list) else wrong,
            wrong if isinstance(wrong, list) else x,
            **fit,
        ),
        lambda: (
            lmjax.least_squares(
                residuals,
                START,
                (x, x),
                weights=np.ma.array(wrong) if isinstance(wrong, list) else wrong,
            )
            if "array" not in words and "sparse" not in words
            else lmjax.fit(line, START, x, wrong, **fit)
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            call()


@pytest.mark.slow
def test_masks_in_arguments_and_params():
    x = np.linspace(0, 1, ROWS)
    with pytest.raises(TypeError, match=r"args\[1\]: 1 entries are masked"):
        lmjax.least_squares(residuals, START, (x, masked))
    with pytest.raises(TypeError, match="params: 1 entries are masked"):
        lmjax.least_squares(lambda p: p, masked)
    whole = np.ma.masked_array(x, mask=False)
    assert float(
        lmjax.fit(line, START, whole, whole, epochs=9, verbose=0).params["slope"]
    ) == pytest.approx(1)
    true = lmjax.least_squares(
        lambda p, x, y, keep: jnp.where(keep, line(p, x) - y, 0), START, (x, x, x > 0.5)
    )
    # Booleans and complex numbers are a function's own business.
    assert float(true.params["slope"]) == pytest.approx(1)
    assert (
        float(
            lmjax.least_squares(lambda p, z: p - z.real, np.float32(0), (np.array(3 + 1j),)).params
        )
        == 3
    )


def test_numbers_that_a_precision_does_not_hold():
    x = np.linspace(0, 1, ROWS)
    with pytest.raises(ValueError, match=r"y: holds 1e\+39, which float32 does not hold"):
        lmjax.fit(line, start(np.float32), x, x * 1e39, verbose=0)
    with pytest.raises(ValueError, match=r"x: all numbers, at most 1e-300, are zero in float32"):
        lmjax.fit(line, start(np.float32), x * 1e-300, x, verbose=0)
    with pytest.raises(ValueError, match=r"args\[0\]: holds 1e\+39"):
        lmjax.least_squares(residuals, start(np.float32), (x * 1e39, x))
    with pytest.raises(ValueError, match=r"y: holds .*4932, which float64 does not hold"):
        lmjax.fit(line, START, x, np.full(ROWS, np.finfo(np.longdouble).max), verbose=0)
    assert (
        float(
            lmjax.least_squares(
                lambda p, limit: jnp.minimum(p - 1, limit), np.float32(0), (np.array(np.inf),)
            ).params
        )
        == 1
    )


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    role=st.sampled_from(["x", "y"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1.0, 0.1]),
    as_list=st.booleans(),
)
def test_a_line_through_numbers_of_any_kind_is_that_of_numpy(
    kind, role, dtype, seed, scale, as_list
):
    """Whatever the kind of the numbers, over most of their range: the line of float64, or a refusal
    that names the argument.
    """
    random = np.random.default_rng(seed)
    other = np.linspace(-1, 1, ROWS)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        least, most = (
            (limits.min, limits.max)
            if scale == 1
            else (int(limits.min * scale), int(limits.max * scale))
        )
        values = random.integers(least, most, ROWS, dtype=kind, endpoint=True)
    elif kind.kind == "b":
        values = random.permutation(np.arange(ROWS) % 2 == 0)
    else:
        values = (random.normal(size=ROWS) * (1e4 if scale == 1 else 1)).astype(kind)
    if as_list and role == "y" and kind != ml_dtypes.bfloat16:
        values = values.tolist()
    plain = np.asarray(values, np.float64)
    assume(np.ptp(plain) > 0.1 * np.abs(plain).max())
    size = np.abs(plain).max()
    # Beyond, a mean of squares is close to the end of float32.
    assume(size < 1e18 or dtype == np.float64)
    x, y = (values, plain / size + 0.1 * other) if role == "x" else (other, values)
    parts = {"numbers": x, "size": np.full(ROWS, size if role == "x" else 1.0)}
    try:
        result = lmjax.fit(scaled_line, start(dtype), parts, y, epochs=60, verbose=0)
    except ValueError as refusal:
        assert (role, dtype, str(refusal)[:12]) == ("x", np.float32, "x['numbers']")  # noqa: PT017
        assert plain.max() > 2**31 - 1 or plain.min() < -(2**31)
        return
    assert_is_best(result.params, plain / size if role == "x" else other, y, dtype)


def test_objects_that_are_numbers():
    mixed = np.array([True, 2, 3.5, Fraction(1, 4), np.float32(0.5), np.bool_(0)], object)
    np.testing.assert_array_equal(numbers.real_array(mixed, "x"), [1, 2, 3.5, 0.25, 0.5, 0])
    assert numbers.real_array([2**63, 1], "x").dtype.kind in "uf"
    np.testing.assert_array_equal(numbers.real_array([-1, 2**64], "x"), [-1.0, 2.0**64])


def test_curve_fit_takes_integers_of_64_bits():
    x = np.arange(1, ROWS + 1)
    popt, _ = lmjax.curve_fit(lambda x, a, b: a * x + b, x * 10**9, LARGE)
    np.testing.assert_allclose(popt, [1, -1e9], rtol=1e-9)


@pytest.mark.slow
def test_optax_update_keeps_its_dtype():
    params = jnp.float32(0)
    link = lmjax.optax.levenberg_marquardt(lambda p, y: p - y)
    update, _ = link.update(None, link.init(params), params, args=(np.arange(3),))
    assert optax.apply_updates(params, update).dtype == jnp.float32
