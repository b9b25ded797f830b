"""``to_json`` and ``from_json``."""

import json
import time
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax

X = np.linspace(0, 2, 30)
Y = 2 * np.exp(-3 * X) + 0.05 * np.cos(40 * X)


def decay(p, x, y):
    return p["curve"][0] * jnp.exp(-p["curve"][1] * x) + p["shift"] - y


@pytest.fixture(scope="module")
def solution():
    return lmjax.least_squares(decay, {"curve": (1.0, 1.0), "shift": np.zeros(1)}, (X, Y))


def test_everything_comes_back(solution):
    loaded = lmjax.Solution.from_json(solution.to_json())
    assert jax.tree.structure(loaded.params) == jax.tree.structure(solution.params)
    for one, other in zip(
        jax.tree.leaves(loaded.params), jax.tree.leaves(solution.params), strict=True
    ):
        assert one.tobytes() == np.asarray(other).tobytes()
        assert one.dtype == other.dtype
    assert loaded.summary() == solution.summary()
    assert str(loaded) == str(solution)
    assert loaded._repr_html_() == solution._repr_html_()
    assert loaded.to_json() == solution.to_json()
    assert loaded.success is True
    assert loaded.status is solution.status
    assert (loaded.message, loaded.nfev) == (solution.message, solution.nfev)
    for name in ("cost", "num_steps", "num_evaluations", "linear_solver", "status_code"):
        assert getattr(loaded, name) == getattr(solution, name)
    assert loaded.degrees_of_freedom() == 27
    np.testing.assert_allclose(loaded.condition(), solution.condition())
    np.testing.assert_allclose(loaded.covariance(), solution.covariance())
    np.testing.assert_allclose(loaded.correlation(), solution.correlation())
    jax.tree.map(np.testing.assert_allclose, loaded.standard_errors(), solution.standard_errors())


def test_what_needs_the_residuals_says_so(solution):
    loaded = lmjax.Solution.from_json(solution.to_json())
    with pytest.raises(AttributeError, match=r"predict_interval: .* has no residual function"):
        loaded.predict_interval(decay)
    assert not hasattr(loaded, "nothing")


def test_single_precision_infinity_and_trees_of_ones_own():
    pair = namedtuple("pair", "a b")
    start = pair(np.float32(1), np.float32(2))
    solution = lmjax.least_squares(lambda p: p.a * p.b - jnp.arange(3.0), start)
    text = solution.to_json()
    assert "Infinity" not in text
    loaded = lmjax.Solution.from_json(text, like=start)
    assert isinstance(loaded.params, pair)
    assert loaded.params.a.dtype == np.float32
    assert np.isinf(loaded.standard_errors().a)
    assert np.isinf(loaded.covariance()).all()
    assert loaded.summary()["undetermined"] == solution.summary()["undetermined"]
    assert list(lmjax.Solution.from_json(text).params) == ["params.a", "params.b"]
    with pytest.raises(ValueError, match="like: expected a tree with arrays of the shapes"):
        lmjax.Solution.from_json(text, like=np.zeros(2))


def test_a_failure_is_saved_too():
    with pytest.warns(lmjax.ConvergenceWarning):
        solution = lmjax.least_squares(lambda p: p * np.array([np.nan, 1, 1]), np.ones(1))
    loaded = lmjax.Solution.from_json(solution.to_json())
    assert loaded.status is lmjax.Status.NON_FINITE_START
    assert str(loaded) == str(solution)


def damaged():
    """(name, what is done with the content)."""

    def at(*path, to):
        def change(content):
            *way, last = path
            for key in way:
                content = content[key]
            content[last] = to

        return change

    return {
        "format": at("format", to="pickle"),
        "version": at("version", to=2),
        "version as a bool": at("version", to=True),
        "an entry more": at("more", to=1),
        "params of another kind": at("params", to={"__reduce__": ["os.system", "true"]}),
        "params as text": at("params", to="x"),
        "shape": at("params", "dict", 1, 1, "shape", to=[10**9, 10**9]),
        "a negative shape": at("params", "dict", 1, 1, "shape", to=[-1, -1]),
        "dtype": at("params", "dict", 1, 1, "dtype", to="O"),
        "another value": at("params", "dict", 1, 1, "values", to=[7.0]),
        "a value that is none": at("params", "dict", 1, 1, "values", to=["x"]),
        "a huge whole number": at("params", "dict", 1, 1, "values", to=[10**400]),
        "a key twice": at("params", "dict", 0, 0, to="shift"),
        "errors": at("standard_errors", "shape", to=[2]),
        "correlation": at("correlation", to=[[1]]),
        "status": at("summary", "status", to="__class__"),
        "success": at("summary", "success", to=False),
        "a name with a control character": at("summary", "parameters", 0, "name", to="\x1b[2J"),
        "a long name": at("summary", "parameters", 0, "name", to="x" * 10**5),
        "a list beyond measure": at("summary", "notes", to=["x"] * 10**5),
        "a summary of another kind": at("summary", to=[]),
        "a flag that is none": at("summary", "absolute_sigma", to=0),
    }


@pytest.mark.parametrize("name", list(damaged()))
def test_damaged_files_are_refused_in_one_line(solution, name):
    content = json.loads(solution.to_json())
    damaged()[name](content)
    with pytest.raises(ValueError, match=r"^from_json: this is not what to_json") as caught:
        lmjax.Solution.from_json(json.dumps(content))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 10**6, "NaN", "1" * 10**5, "null", '{"format": "lmjax.Solution"}', "\x00"],
    ids=["empty", "open", "deep", "nan", "digits", "null", "bare", "zero"],
)
def test_other_texts_are_refused_in_one_line(text):
    with pytest.raises(ValueError, match=r"^from_json: this is not what to_json") as caught:
        lmjax.Solution.from_json(text)
    assert "\n" not in str(caught.value)


def test_sizes_are_bounded(solution):
    begin = time.perf_counter()
    with pytest.raises(ValueError, match="from_json: expected at most"):
        lmjax.Solution.from_json(" " * (2**26 + 1))
    with pytest.raises(TypeError, match="from_json: expected the text that to_json returned"):
        lmjax.Solution.from_json(solution.to_json().encode())
    assert time.perf_counter() - begin < 5


def test_every_cut_of_a_file_is_refused(solution):
    text = solution.to_json()
    for end in range(0, len(text), 97):
        with pytest.raises(ValueError, match=r"^from_json: this is not what"):
            lmjax.Solution.from_json(text[:end])
