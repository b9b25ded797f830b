"""Reading what :mod:`~lmjax._src.least_squares.reports.saved` wrote; nothing of it is executed."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np

from lmjax._src.least_squares.reports import schema, trees
from lmjax._src.least_squares.reports.loaded import LoadedSolution
from lmjax._src.least_squares.reports.saved import FORMAT, VERSION
from lmjax._src.least_squares.reports.trees import DamagedError
from lmjax._src.typing import NumpyArray, PyTree

#: Characters of a file at the most: all its numbers, with what is around them.
_MAX_LENGTH = 2**26


def loaded(text: str, like: PyTree = None) -> LoadedSolution:
    """The solution of a text; described at :meth:`Solution.from_json`."""
    if not isinstance(text, str):
        raise TypeError(
            f"from_json: expected the text that to_json returned, got {type(text).__name__}"
        )
    if len(text) > _MAX_LENGTH:
        raise ValueError(
            f"from_json: expected at most {_MAX_LENGTH} characters, got {len(text)}; to_json "
            "writes no longer text"
        )
    try:
        return _read(_parsed(text), like)
    except DamagedError as error:
        raise ValueError(
            f"from_json: this is not what to_json of this version writes: {error}; fit again, or "
            "load an undamaged file"
        ) from None


def _parsed(text: str) -> dict[str, Any]:
    def refuse(word: str) -> float:
        raise DamagedError(f"{word} is no JSON")

    try:
        content = json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise DamagedError("it is nested too deeply") from None
    except DamagedError:
        raise
    except ValueError as error:
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise DamagedError(f"no JSON{place}") from None
    keys = {"format", "version", "params", "standard_errors", "correlation", "summary"}
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DamagedError(f"its format is not {FORMAT!r}")
    if type(content.get("version")) is not int or content["version"] != VERSION:
        raise DamagedError(f"its version is not {VERSION}")
    if set(content) != keys:
        raise DamagedError(f"it should have the entries {', '.join(sorted(keys))}")
    return content


def _read(content: dict[str, Any], like: PyTree) -> LoadedSolution:
    params, report = trees.from_json(content["params"]), schema.from_json(content["summary"])
    leaves = jax.tree.leaves(params)
    count = sum(leaf.size for leaf in leaves)
    if count != report["num_params"] or count == 0:
        raise DamagedError("params and summary are of different numbers of parameters")
    errors = _checked(content["standard_errors"], "standard_errors", (count,))
    correlation = _checked(content["correlation"], "correlation", (count, count))
    flat = np.concatenate([leaf.reshape(-1) for leaf in leaves])
    listed = [each["value"] for each in report["parameters"]]
    if not np.array_equal(flat[: len(listed)].astype(float), listed, equal_nan=True):
        raise DamagedError("params and summary have different values")
    if like is not None:
        params = _like(leaves, like)
    return LoadedSolution(params, report, errors, correlation)


def _checked(value: Any, name: str, shape: tuple[int, ...]) -> NumpyArray | None:
    if value is None:
        return None
    array = trees.array_from_json(value, name)
    if array.shape != shape:
        raise DamagedError(f"{name} should have shape {shape}")
    return array


def _like(leaves: list[NumpyArray], like: PyTree) -> PyTree:
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(like)]
    if shapes != [leaf.shape for leaf in leaves]:
        raise ValueError(
            f"like: expected a tree with arrays of the shapes {[leaf.shape for leaf in leaves]}, "
            f"got {shapes}"
        )
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
