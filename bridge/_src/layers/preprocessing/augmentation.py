"""Image augmentation: at inference these layers return their inputs, RandomCrop and Equalization
included.
"""

from __future__ import annotations

from typing import Self

from bridge._src.layers.base import LayerConfig
from bridge._src.layers.core.core import Identity
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree

#: Keras' layers that change images during training only.
LAYERS = (
    *(
        "AugMix",
        "CutMix",
        "Equalization",
        "MixUp",
        "RandAugment",
        "Solarization",
        "RandomBrightness",
        "RandomColorDegeneration",
    ),
    *(
        "RandomColorJitter",
        "RandomContrast",
        "RandomCrop",
        "RandomElasticTransform",
        "RandomErasing",
        "RandomFlip",
    ),
    *(
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
    ),
    *(
        "RandomRotation",
        "RandomSaturation",
        "RandomSharpness",
        "RandomShear",
        "RandomTranslation",
        "RandomZoom",
    ),
)


@converts(*LAYERS)
class Augmentation(Identity):
    """A layer that changes images during training only."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore(*config)
        return cls()

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None
