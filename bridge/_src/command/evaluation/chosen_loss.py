"""The loss by which a model in a file is trained and evaluated."""

from __future__ import annotations

from bridge._src.command.failure import CommandError
from bridge._src.formats.model_file import ModelFile
from bridge._src.training.losses import from_serialized
from lmjax._src.objectives.losses.loss import Loss


def chosen_loss(model: ModelFile, named: str | None) -> Loss | str:
    """The loss that was asked for by name, or with which the model in the file was compiled.

    Raises:
        CommandError: it was compiled with one that cannot be served.
    """
    path, description = model.path, model.description
    if named or description.loss is None:
        return named or "mse"
    if description.compiled.get("loss_weights"):
        raise CommandError(
            f"{path}: it was compiled with loss_weights, which a single loss does not "
            "need; give --loss, or compile it without"
        )
    try:
        return from_serialized(description.loss, model.graph)
    except (ValueError, TypeError) as error:
        raise CommandError(
            f"{path}: it was compiled with a loss that cannot be served, so --loss is "
            f"needed: {error}"
        ) from None
