"""The variables of a live Keras model, by which it is known again when trained values come home."""

from __future__ import annotations

from typing import NamedTuple, Self

from bridge._src.typing import KerasModel, Variable


class LiveVariables(NamedTuple):
    """What a live model listed as its weights when it was read.

    Variables are compared by identity: a layer that was built anew, added or taken away shows in
    the first list, one that was frozen or freed in the second.
    """

    weights: tuple[Variable, ...]
    trainable: tuple[Variable, ...]

    @classmethod
    def of(cls, model: KerasModel) -> Self:
        """Those of ``model`` as it is now."""
        return cls(tuple(model.weights), tuple(model.trainable_weights))

    def are_of(self, other: Self) -> bool:
        """Whether ``other`` lists the very same variables."""
        return all(
            [id(variable) for variable in ours] == [id(variable) for variable in theirs]
            for ours, theirs in zip(self, other, strict=True)
        )

    def meet(self, other: Self) -> bool:
        """Whether any variable is in both."""
        known = {id(variable) for variable in self.weights}
        return any(id(variable) in known for variable in other.weights)
