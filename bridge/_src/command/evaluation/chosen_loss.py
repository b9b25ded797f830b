"""The loss by which a model in a file is trained and evaluated."""

from __future__ import annotations

from bridge._src.command.failure import CommandError
from bridge._src.formats.model_file import ModelFile
from bridge._src.training.losses import serialized_losses
from bridge._src.training.outputs.losses import OutputLosses
from lmjax._src.objectives.losses.loss import Loss


def chosen_loss(model: ModelFile, named: str | None) -> Loss | OutputLosses:
    """The loss that was asked for by name, or with which the model in the file was compiled.

    Raises:
        CommandError: it was compiled with one that cannot be served, or with losses for several
            outputs, for which a file of data has no targets.
    """
    path, description = model.path, model.description
    given, weights = named or "mse", None
    if not named and description.loss is not None:
        given, weights = description.loss, description.compiled.get("loss_weights") or None
    try:
        losses = serialized_losses(given, weights, model.graph)
    except (ValueError, TypeError) as error:
        raise CommandError(
            f"{path}: it was compiled with a loss that cannot be served, so --loss is "
            f"needed: {error}"
        ) from None
    if isinstance(losses, OutputLosses) and len(losses.parts) > 1:
        names = ", ".join(repr(part.output.name) for part in losses.parts)
        raise CommandError(
            f"{path}: it has losses for {len(losses.parts)} outputs ({names}), and a file of data "
            "has targets for one; compile it with None as the loss of the others, or use "
            "lmjax.keras, which takes targets for each"
        )
    return losses
