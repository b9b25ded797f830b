"""Solutions as text."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np

from lmjax._src.least_squares.reports import schema, trees
from lmjax._src.least_squares.reports.trees import MAX_NUMBERS
from lmjax._src.typing import NumpyArray, Params

#: Parameters up to which the matrix of correlations is saved, too.
_MAX_MATRIX = 300

FORMAT, VERSION = "lmjax.Solution", 1


def saved(
    params: Params,
    report: dict[str, Any],
    errors: NumpyArray | None,
    correlation: NumpyArray | None,
    names: list[str],
) -> str:
    """The text of a solution: its ``report``, ``errors`` (P,) and ``correlation`` (P, P).

    ``names`` are those of the arrays, where the containers of ``params`` have no counterpart.

    Raises:
        ValueError: there are too many parameters.
    """
    count = report["num_params"]
    if count > MAX_NUMBERS // 2:
        raise ValueError(
            f"to_json: expected at most {MAX_NUMBERS // 2} parameters, got {count}; save the "
            "arrays of params with numpy.savez"
        )
    tree = trees.as_json(params)
    if tree is None:
        leaves = map(np.asarray, jax.tree.leaves(params))
        tree = {
            "dict": [
                [name, trees.array_as_json(leaf)] for name, leaf in zip(names, leaves, strict=True)
            ]
        }
    if correlation is not None and len(correlation) > _MAX_MATRIX:
        correlation = None
    content = {
        "format": FORMAT,
        "version": VERSION,
        "params": tree,
        "standard_errors": None if errors is None else trees.array_as_json(errors),
        "correlation": None if correlation is None else trees.array_as_json(correlation),
        "summary": schema.as_json(report),
    }
    return json.dumps(content, allow_nan=False, ensure_ascii=False)
