"""Tells Keras' callbacks of a fit by :func:`lmjax.fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge._src.training.following.evaluation import Evaluation
from bridge._src.training.following.home import Home
from bridge._src.typing import KerasModel
from lmjax._src.training.following.listening import Beginning, Listener, Now, Wish
from lmjax._src.typing import Params


class KerasListener(Listener):
    """Drives a ``CallbackList`` as Keras' ``fit`` does: the model has the current weights before
    each call.

    Params are nested under Keras' layer names.

    Args:
        model: the live model.
        callbacks: the ``CallbackList``.
        home: the way there.
        evaluation: of the compiled metrics; None without any.
        first: the number of the first epoch.
        by_batch: whether a callback follows batches.

    Attributes:
        first: the number of the first epoch of this run.
        logs: of the last epoch.
    """

    def __init__(
        self,
        model: KerasModel,
        callbacks: Any,
        home: Home,
        evaluation: Evaluation | None,
        first: int,
        by_batch: bool,
    ) -> None:
        self._model, self._callbacks, self._home = model, callbacks, home
        self._evaluation, self.first, self.by_batch = evaluation, first, by_batch
        self.logs: dict[str, float] = {}
        self._batch_losses = 0.0

    def begin(self) -> Beginning:
        """``BackupAndRestore`` puts in weights and the number of an epoch."""
        self._model.stop_training = False
        _forget_restored(self._model)
        _build_optimizer(self._model)
        self._callbacks.on_train_begin()
        restored = _restored_epoch(self._model, self.first)
        skipped = max(restored - self.first, 0)
        self.first += skipped
        replaced = self._home.changes()
        self._home.remember()
        return Beginning(skipped, replaced)

    def begin_epoch(self, epoch: int) -> None:
        """See :class:`~lmjax._src.training.following.listening.Listener`."""
        self._callbacks.on_epoch_begin(self.first + epoch)

    def begin_batch(self, batch: int, now: Now) -> None:
        """See :class:`~lmjax._src.training.following.listening.Listener`."""
        if self.by_batch:
            self._home.bring(now())
            self._callbacks.on_train_batch_begin(batch)

    def end_batch(self, batch: int, loss: float, now: Now) -> bool:
        """See :class:`~lmjax._src.training.following.listening.Listener`."""
        if not self.by_batch:
            return False
        self._home.bring(now())
        # As Keras has it: the mean over the batches of this epoch so far.
        self._batch_losses = loss + (self._batch_losses if batch else 0.0)
        self._callbacks.on_train_batch_end(batch, {"loss": self._batch_losses / (batch + 1)})
        if self._home.changes() is not None:
            raise ValueError(
                "callbacks: one has changed the model's weights after a batch; do it in "
                "on_epoch_end, from where the fit goes on with them"
            )
        return bool(self._model.stop_training)

    def end_epoch(self, epoch: int, logs: dict[str, float], now: Now) -> Wish:
        """Adds the metrics to ``logs``."""
        self._home.bring(now())
        validated = "val_loss" in logs
        measured = self._evaluation is not None and self._evaluation.is_due(self.first + epoch)
        numbers = {"loss": logs["loss"]}
        if measured:
            assert self._evaluation is not None
            numbers |= self._evaluation.training()
        if validated:
            numbers["val_loss"] = logs["val_loss"]
            if measured:
                assert self._evaluation is not None
                numbers |= self._evaluation.validation(self._callbacks)
            else:
                self._callbacks.on_test_begin()
                self._callbacks.on_test_end({"loss": logs["val_loss"]})
        shown = dict(numbers)
        numbers |= logs
        self._callbacks.on_epoch_end(self.first + epoch, numbers)
        self.logs = numbers
        return Wish(shown, bool(self._model.stop_training), self._home.changes())

    def undo(self) -> None:
        """After an exception in the first epoch, of which nothing is kept: the model gets back the
        weights that the fit began with.
        """
        self._home.go_back()

    def end(self, params: Params) -> bool:
        """After the fit, with the ``params`` that it returns; whether a callback has put in
        others.
        """
        self._home.bring(params)
        self._callbacks.on_train_end(self.logs)
        return self._home.changes() is not None


class Renamed(Listener):
    """A listener who knows layers by other names than the fit does.

    Args:
        listener: who is told.
        to_listener: the listener's params from those of the fit.
        to_fit: the inverse.
    """

    def __init__(
        self,
        listener: Listener,
        to_listener: Callable[[Params], Params],
        to_fit: Callable[[Params], Params],
    ) -> None:
        self._listener, self._to_listener, self._to_fit = listener, to_listener, to_fit
        self.by_batch = listener.by_batch

    def begin(self) -> Beginning:
        """See :class:`~lmjax._src.training.following.listening.Listener`."""
        skipped, params = self._listener.begin()
        return Beginning(skipped, None if params is None else self._to_fit(params))

    def begin_epoch(self, epoch: int) -> None:
        """See :class:`~lmjax._src.training.following.listening.Listener`."""
        self._listener.begin_epoch(epoch)

    def begin_batch(self, batch: int, now: Now) -> None:
        """See :class:`~lmjax._src.training.following.listening.Listener`."""
        self._listener.begin_batch(batch, lambda: self._to_listener(now()))

    def end_batch(self, batch: int, loss: float, now: Now) -> bool:
        """See :class:`~lmjax._src.training.following.listening.Listener`."""
        return self._listener.end_batch(batch, loss, lambda: self._to_listener(now()))

    def end_epoch(self, epoch: int, logs: dict[str, float], now: Now) -> Wish:
        """See :class:`~lmjax._src.training.following.listening.Listener`."""
        wish = self._listener.end_epoch(epoch, logs, lambda: self._to_listener(now()))
        return wish if wish.params is None else wish._replace(params=self._to_fit(wish.params))


def _build_optimizer(model: KerasModel) -> None:
    """As Keras' ``fit`` does before its callbacks: some of them save the variables of the optimizer
    with the weights, and look for as many when they load them.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not getattr(optimizer, "built", True):
        optimizer.build(model.trainable_variables)


def _forget_restored(model: KerasModel) -> None:
    """Takes off the epoch that ``BackupAndRestore`` has left on a model in an earlier fit, which a
    fit without it would begin with, too.
    """
    for name in ("_initial_epoch", "_training_state"):
        if getattr(model, name, None) is not None:
            setattr(model, name, None)


def _restored_epoch(model: KerasModel, first: int) -> int:
    """The epoch to go on with, as ``BackupAndRestore`` leaves it in models of Keras 3 and
    Keras 2.
    """
    if getattr(model, "_training_state", None) is not None:
        epoch, _ = model._maybe_load_initial_counters_from_ckpt(None, first)
        return int(epoch)
    return int(getattr(model, "_initial_epoch", None) or first)
