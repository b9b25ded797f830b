"""Samples of a file as a fit takes them."""

from __future__ import annotations

from bridge._src.command.data.samples import Data
from bridge._src.training.data import training_data
from bridge._src.training.outputs.supervision import Supervision
from lmjax._src.training.data import TRAINING, Names
from lmjax._src.training.data import Data as Entering


def entering(data: Data, supervision: Supervision, names: Names = TRAINING) -> Entering:
    """Samples for a model with the losses of ``supervision``; messages call them ``names``."""
    return training_data(data.x, data.y, data.sample_weight, supervision, names)
