"""Weights for standardised numbers and weights for raw ones, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial

import numpy as np

from bridge._src.description.weights import Path, leaves, nest
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.renaming import to_numbers
from bridge._src.training.outputs.losses import OutputLosses
from bridge._src.training.outputs.structure import outputs_of
from bridge._src.training.penalties import penalties
from bridge._src.training.problem import Problem
from bridge._src.training.standardization.affine import with_maps
from bridge._src.training.standardization.moments import AffineMap
from bridge._src.training.standardization.places import Place
from bridge._src.training.standardization.sites import penalty_factors
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.typing import Params

#: Of a weight in the penalties of :func:`lmjax.fit`.
_POWERS = {"l1": 1, "l2": 2}
#: The axis of a matrix along which what is compared lies, from the end.
_AXES = {"orthogonal_rows": -2, "orthogonal_columns": -1}


@dataclasses.dataclass(frozen=True)
class Folding:
    """A model, and the maps that standardise what it takes and gives.

    Attributes:
        raw: the model as it is, whose params are its own.
        inputs: calls with the maps of their inputs.
        targets: calls with the maps of their outputs.
    """

    raw: FlaxModel
    inputs: tuple[tuple[Place, AffineMap], ...]
    targets: tuple[tuple[Place, AffineMap], ...]

    def model(self, params: Params) -> FlaxModel:
        """The model that takes and gives raw numbers and whose ``params`` are weights for
        standardised ones.
        """
        maps = ({place.node: of for place, of in side} for side in (self.inputs, self.targets))
        return dataclasses.replace(with_maps(self.raw, *maps), params=params)

    def fold(self, params: Params) -> Params:
        """The weights that give the raw model the same outputs, in the dtypes of ``params``,
        computed in float64.
        """
        weights = {path: np.asarray(leaf, np.float64) for path, leaf in leaves(params)}
        for place, of in self.inputs:
            for site in place.sites:
                site.fold_inputs(weights, of)
        for place, of in self.targets:
            for site in place.sites:
                site.fold_outputs(weights, of)
        return self._as_in(params, weights)

    def unfold(self, params: Params) -> Params:
        """The inverse of :meth:`fold`."""
        weights = {path: np.asarray(leaf, np.float64) for path, leaf in leaves(params)}
        for place, of in self.targets:
            for site in place.sites:
                site.fold_outputs(weights, of, -1)
        for place, of in self.inputs:
            for site in place.sites:
                site.fold_inputs(weights, of, -1)
        return self._as_in(params, weights)

    def _as_in(self, params: Params, weights: dict[tuple[str, ...], np.ndarray]) -> Params:
        return nest({path: weights[path].astype(leaf.dtype) for path, leaf in leaves(params)})

    def loss(self, loss: str | Loss | OutputLosses, model: FlaxModel) -> str | Loss | OutputLosses:
        """``loss`` of the raw model as that of :meth:`model`, whose outputs are other tensors."""
        if not isinstance(loss, OutputLosses):
            return loss
        now = outputs_of(model.module)
        parts = (
            dataclasses.replace(part, output=part.output._replace(ref=now[part.place].ref))
            for part in loss.parts
        )
        return dataclasses.replace(loss, parts=tuple(parts))

    def penalised(self, problem: Problem, model: FlaxModel) -> Problem:
        """``problem`` of :meth:`model`, with the penalties of the raw weights.

        Raises:
            ValueError: one of them is none of the weights for standardised numbers.
        """
        found = {}
        for name, factors in penalties(self.raw).items():
            given = dict(leaves(factors))
            if name in _AXES:
                self._check_cosines(given, _AXES[name])
                found[name] = to_numbers(factors, model.module)
                continue
            for at_the_end, side in ((False, self.inputs), (True, self.targets)):
                changed = partial(penalty_factors, power=_POWERS[name], at_the_end=at_the_end)
                for place, of in side:
                    for site in place.sites:
                        given[site.kernel] = changed(given[site.kernel], site, of)
            found[name] = to_numbers(nest(given), model.module)
        return problem._replace(penalties=found)

    def _check_cosines(self, factors: Mapping[Path, float], axis: int) -> None:
        """Raises :class:`ValueError` where cosines of raw weights are none of the others': those of
        rows are where each row has a scale of its own, those of columns are not.
        """
        for place, of in (*self.inputs, *self.targets):
            for site in place.sites:
                alike = site.axis == axis or bool((of.scale == of.scale[0]).all())
                if factors[site.kernel] and not alike:
                    mode, other = ("rows", "columns")[:: 1 if axis == -2 else -1]
                    raise ValueError(
                        f"standardize: {'/'.join(site.kernel)} has an OrthogonalRegularizer with "
                        f"mode='{mode}', and a fold would scale its {other}, each by another "
                        f"number, by which cosines of {mode} become others; leave standardize out, "
                        "or standardise the data themselves"
                    )
