"""The end of a fit: weights into the model, numbers into the history."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import lmjax
from bridge._src.conversion.to_keras import bring_home
from bridge._src.description.errors import ConversionError
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.following.continuation import TrainingState
from bridge._src.training.following.held_back import HeldBack
from bridge._src.training.following.home import Home
from bridge._src.training.following.listener import KerasListener
from bridge._src.typing import KerasModel
from lmjax._src.training.following.recording import attach

#: Said where something fails behind a fit.
_DONE = "bridge: the fit was done, and the model has its weights"


class Homecoming(NamedTuple):
    """The end of a fit: weights into the model, numbers into the history."""

    converted: FlaxModel
    model: KerasModel
    history: Any
    params: dict[str, Any]
    first: int
    listener: KerasListener | None
    standardize: Any = None

    def tell(self, result: lmjax.FitResult) -> None:
        """Tells the callbacks; not of an end by a signal, as Keras would not, so that
        ``BackupAndRestore`` keeps what it has.
        """
        if self.listener is None or result.status is lmjax.Status.INTERRUPTED:
            return
        try:
            changed = self.listener.end(result.params)
        except BaseException as error:
            attach(error, self.history, _DONE)
            raise
        if changed:
            self.history.best_epoch = None

    def test(self, held_back: HeldBack, result: lmjax.FitResult) -> None:
        """Looks at the test data with the weights that the model has now; not after a signal."""
        if result.status is lmjax.Status.INTERRUPTED:
            return
        try:
            self.history.test = held_back.look(Home(self.converted, self.model).now())
        except BaseException as error:
            attach(error, self.history, _DONE)
            raise

    def rescue(self, error: BaseException) -> None:
        """Gives the model what was trained before ``error``, and otherwise its weights from the
        start, where callbacks have seen others.
        """
        result = getattr(error, "result", None)
        if not isinstance(result, lmjax.FitResult):
            if self.listener is not None:
                with suppress(ConversionError):  # a callback has changed the model's layers
                    self.listener.undo()
            return
        try:
            self.write(result)
        except Exception as failure:  # noqa: BLE001 - the first error is the one to be told
            error.add_note(
                f"bridge: the weights could not be written back ({failure}); they are in "
                "`result.params` of this exception"
            )
        else:
            attach(
                error,
                self.history,
                f"bridge: the model has the best weights of the {len(self.history.epoch)} epochs "
                "before this",
            )

    def write(self, result: lmjax.FitResult) -> None:
        """Gives the model the result's weights, and the history its numbers."""
        bring_home(self.converted, result.params, self.model)
        history, first = self.history, self.first
        if self.listener is not None:
            first = self.listener.first
        history.take(result, first)
        history.state = TrainingState.of(result.state, self.converted, self.standardize)
        history.set_params(self.params)
        history.set_model(self.model)
        self.model.history = history
