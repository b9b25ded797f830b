"""The weights of a live model while a fit goes on: brought there for those who look at them, and
taken from there when somebody has put in others.
"""

from __future__ import annotations

import numpy as np

from bridge._src.conversion.to_keras import bring_home
from bridge._src.description.errors import ConversionError
from bridge._src.description.weights import Path, nest, same_bits
from bridge._src.formats.live_weights import values_of
from bridge._src.module.flax_model import FlaxModel
from bridge._src.typing import KerasModel
from lmjax._src.typing import NumpyArray, Params


class Home:
    """The live model that ``converted`` was read from."""

    def __init__(self, converted: FlaxModel, model: KerasModel) -> None:
        self._converted, self._model = converted, model
        self._known = self._values()
        self._remembered: dict[Path, NumpyArray] | None = None

    def remember(self) -> None:
        """Remembers the weights that the model has now, for :meth:`go_back`."""
        self._remembered = self._known

    def go_back(self) -> None:
        """Gives the model the weights that were remembered, if any were."""
        if self._remembered is not None:
            trainable = self._converted.table.trainable
            self.bring(nest({entry.path: self._remembered[entry.path] for entry in trainable}))

    def bring(self, params: Params) -> None:
        """Gives the model ``params``, nested under Keras' layer names."""
        bring_home(self._converted, params, self._model)
        self._known = self._values()

    def changes(self) -> Params | None:
        """The trainable weights if somebody else has changed them since, which are known from now
        on.

        Raises:
            ConversionError: somebody has changed weights that are not trained, which the fit holds
                for constant.
        """
        now = self._values()
        changed = {path for path, values in now.items() if not same_bits(values, self._known[path])}
        if not changed:
            return None
        self._known = now
        frozen = [entry.name for entry in self._converted.table.frozen if entry.path in changed]
        if frozen:
            raise ConversionError(
                f"callbacks: one has changed {', '.join(frozen)}, which the fit does not train "
                "and holds for constant; change it before the fit"
            )
        return self.now()

    def now(self) -> Params:
        """The trainable weights that the model has, as the fit takes them."""
        table, dtype = self._converted.table, self._converted.dtype
        return nest(
            {
                entry.path: np.asarray(values_of(entry.handle)).astype(dtype)
                for entry in table.trainable
            }
        )

    def _values(self) -> dict[Path, NumpyArray]:
        return {entry.path: values_of(entry.handle) for entry in self._converted.table}
