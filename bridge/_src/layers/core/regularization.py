"""Dropout and noise layers: at inference they return their inputs."""

from __future__ import annotations

from typing import Self

from bridge._src.layers.base import LayerConfig
from bridge._src.layers.core.core import Identity
from bridge._src.layers.registry import converts


@converts(
    "ActivityRegularization",  # adds to the loss only
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
)
class Noise(Identity):
    """A layer that acts during training only."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("rate", "stddev", "seed", "noise_shape", "data_format", "l1", "l2")
        return cls()
