"""What a fit with evidence maximisation goes by, from what a caller passed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.options import Options
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.bayesian.evidence import Prior
from lmjax._src.training.bayesian.likelihood import likelihood_of
from lmjax._src.training.bayesian.request import Bayesian, group_numbers
from lmjax._src.typing import Params

#: Why an argument has no place beside it.
_REASONS = {
    "l2": "it has squares of its own",
    "l1": "its prior is normal",
    "orthogonal_rows": "its prior is normal",
    "orthogonal_columns": "its prior is normal",
    "bounds": "its posterior knows no ends",
    "batch_size": "the evidence is that of all rows; leave it out for steps on all of them",
}


def request_of(given: Any, **others: Any) -> Bayesian | None:
    """What a caller gave as ``regularization``, beside ``others`` that do not go with it.

    Raises:
        ValueError: it is none, or one of the others was given.
    """
    if given is None:
        return None
    if given != "bayesian" and not isinstance(given, Bayesian):
        raise ValueError(
            f"regularization: expected None, 'bayesian' or an lmjax.Bayesian, got {given!r}"
        )
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"{name}: not with regularization='bayesian': {_REASONS[name]}")
    return given if isinstance(given, Bayesian) else Bayesian()


def prior_of(
    bayesian: Bayesian | None, params: Params, objective: Any, flat: Vector
) -> Prior | None:
    """What ``bayesian`` means for a fit of ``params``, which are ``flat`` (P,); None for None.

    Raises:
        ValueError: data are streamed, or the loss is no likelihood, or groups do not fit.
    """
    if bayesian is None:
        return None
    if not isinstance(objective, SupervisedObjective):
        raise ValueError(
            "regularization: 'bayesian' needs data in memory, and these are streamed; pass arrays"
        )
    groups, names = group_numbers(bayesian, params)
    return Prior(
        np.asarray(groups, np.int32),
        tuple(names),
        likelihood_of(objective.loss, objective, flat),
    )


def fitted_to(prior: Prior | None, *objectives: Any) -> tuple[Any, ...]:
    """Objectives for a fit with ``prior``: not in the form that has one number for each array of
    the parameters, where groups are parts of arrays.
    """
    if prior is None:
        return objectives
    arrays = objectives[0].structure.split(prior.groups)
    if all(leaf.size == 0 or bool((leaf == leaf.flat[0]).all()) for leaf in arrays):
        return objectives
    return tuple(
        None if each is None else dataclasses.replace(each, layerwise=False) for each in objectives
    )


def check_form(prior: Prior | None, solver: Options) -> None:
    """Refuses a linear solver that knows JᵀJ by its products alone.

    Raises:
        ValueError: it is one.
    """
    if prior is not None and solver.linear.form is Form.OPERATOR:
        raise ValueError(
            "regularization: 'bayesian' needs JᵀJ, or J Jᵀ, as a matrix, and "
            f"{type(solver.linear).__name__} takes its products alone, which lmjax.Auto chooses "
            "where a matrix would be too large; pass linear_solver=lmjax.Cholesky() or "
            "lmjax.DualCholesky() if there is room for it, or take a smaller network"
        )
