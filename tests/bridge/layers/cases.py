"""Configurations of every registered Keras class, as the conformance tests run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bridge._src.layers.activations import FUNCTIONS

#: Largest |difference| / largest |reference| in float64, unless a case says otherwise.
DOUBLE = 1e-11
#: The same where TensorFlow itself only computes in float32.
SINGLE = 5e-6


class Case(NamedTuple):
    """One configuration of one layer.

    Attributes:
        options: Keras constructor options; nested layers in serialized form.
        shape: Input shape without the batch axis.
        inputs: "normal" (Gaussian), "tokens" (integers below 5), "pixels" (integers below 256) or
            "rows" (Gaussian with a row of zeros and a row of tiny numbers).
        masked: Whether a Masking layer with some masked steps stands in front.
        double: Largest relative difference allowed in float64.
        turned: Compare with Keras' channels_last layer on transposed arrays: TensorFlow convolves
            channels_first on the CPU in float32 only, and there not with every build.
        stuffed: Compare with an undilated Keras layer whose kernel has zeros between its entries:
            TensorFlow has no dilated transposed convolution on the CPU.
        smooth: Whether the layer has a derivative at these inputs.
        label: Tells cases of one class apart in the test's name.
    """

    options: Mapping[str, Any]
    shape: tuple[int, ...]
    inputs: str = "normal"
    masked: bool = False
    double: float = DOUBLE
    turned: bool = False
    stuffed: bool = False
    smooth: bool = True
    label: str = ""


def layer(class_name: str, **options: Any) -> dict[str, Any]:
    """A serialized Keras layer."""
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "config": options,
        "registered_name": None,
    }


FIRST = "channels_first"


def with_masks(cases: Sequence[Case]) -> list[Case]:
    """The cases, then the first of them with a mask."""
    return [*cases, cases[0]._replace(masked=True)]


def _noise(shape: tuple[int, ...] = (4, 3), **options: Any) -> list[Case]:
    return with_masks([Case(options, shape)])


CORE = {
    "InputLayer": [],  # every model of these tests begins with one
    "Dense": with_masks(
        [
            Case({"units": 3}, (4, 2)),
            Case({"units": 2, "activation": "tanh"}, (3,)),
            Case({"units": 2, "use_bias": False, "activation": "gelu"}, (2, 2, 3)),
            Case(
                {"units": 4, "activation": layer("LeakyReLU", negative_slope=0.1)},
                (3,),
                label="layer",
            ),
            Case({"units": 4, "activation": layer("PReLU")}, (3,), label="layer with weights"),
        ]
    ),
    "Identity": [Case({}, (4, 2)), Case({}, (3, 2), masked=True)],
    "Activation": [Case({"activation": name}, (5, 4)) for name in FUNCTIONS]
    + [
        Case({"activation": layer("ReLU", max_value=1.0)}, (6,), label="layer"),
        Case({"activation": "relu"}, (5, 4), masked=True),
    ],
    "Embedding": [
        Case({"input_dim": 5, "output_dim": 3}, (4,), "tokens"),
        Case({"input_dim": 5, "output_dim": 2, "mask_zero": True}, (6,), "tokens"),
        Case({"input_dim": 5, "output_dim": 2}, (2, 3), "tokens"),
    ],
    "Masking": [Case({}, (5, 2), "rows"), Case({"mask_value": 1.5}, (4, 3))],
    "ELU": with_masks([Case({}, (5, 2)), Case({"alpha": 0.3}, (7,))]),
    "LeakyReLU": with_masks(
        [
            Case({}, (5, 2)),
            Case({"negative_slope": 0.07}, (7,)),
            Case({"negative_slope": 0.0}, (7,)),
        ]
    ),
    "PReLU": with_masks(
        [
            Case({}, (3, 2)),
            Case({"shared_axes": [1]}, (3, 2)),
            Case({"shared_axes": [1, 2]}, (3, 2, 4)),
            Case({}, (5,)),
        ]
    ),
    "ReLU": with_masks(
        [
            Case({}, (4, 2)),
            Case({"negative_slope": 0.1}, (9,)),
            Case({"max_value": 0.7}, (9,)),
            Case({"max_value": 6}, (9,)),
            Case({"threshold": 0.3}, (9,)),
            Case({"threshold": 0.3, "negative_slope": 0.1}, (9,)),
            Case({"max_value": 0.7, "negative_slope": 0.1}, (9,)),
            Case({"max_value": 1.1, "threshold": 0.3, "negative_slope": 0.1}, (9,)),
        ]
    ),
    "Softmax": [
        Case({}, (3, 4)),
        Case({"axis": 1}, (3, 4)),
        Case({"axis": [1, 2]}, (3, 4)),
        Case({"axis": [-1]}, (5,)),
    ],
}

REGULARIZATION = {
    "Dropout": _noise(rate=0.5) + _noise(rate=0.2, noise_shape=[None, 1, 3], seed=3),
    "AlphaDropout": _noise(rate=0.3),
    "GaussianDropout": _noise(rate=0.3, seed=1),
    "GaussianNoise": _noise(stddev=0.3),
    "SpatialDropout1D": _noise(rate=0.3),
    "SpatialDropout2D": [Case({"rate": 0.3, "data_format": FIRST}, (2, 3, 2))],
    "SpatialDropout3D": [Case({"rate": 0.3}, (2, 3, 2, 2))],
    "ActivityRegularization": _noise(l1=0.1, l2=0.2),
}

NORMALIZATION = {
    "BatchNormalization": with_masks(
        [
            Case({}, (4, 3)),
            Case({"axis": 1, "epsilon": 1e-5}, (3, 2, 2)),
            Case({"center": False}, (3,)),
            Case({"scale": False}, (3,)),
            Case({"scale": False, "center": False, "momentum": 0.5}, (3,)),
            Case({"renorm": True, "renorm_clipping": {"rmax": 2.0}}, (3,)),
        ]
    ),
    "LayerNormalization": with_masks(
        [
            Case({}, (4, 3)),
            Case({"axis": 1}, (4, 3)),
            Case({"axis": [1, 2]}, (4, 3)),
            Case({"axis": [-2, -1], "epsilon": 1e-6}, (2, 4, 3)),
            Case({"axis": [2], "center": False}, (2, 4, 3)),
            Case({"scale": False}, (5,)),
            Case({"scale": False, "center": False}, (5,)),
            Case({"rms_scaling": True, "axis": 1, "scale": False}, (4, 3)),
        ]
    ),
    "GroupNormalization": with_masks(
        [
            Case({"groups": 2}, (3, 4)),
            Case({"groups": -1}, (3, 3, 2)),
            Case({"groups": 3, "axis": 1}, (6, 2, 2)),
            Case({"groups": 2, "axis": -2, "scale": False}, (3, 4, 2)),
            Case({"groups": 1, "center": False, "epsilon": 1e-5}, (4,)),
        ]
    ),
    "UnitNormalization": with_masks(
        [Case({}, (4, 3), "rows"), Case({"axis": 1}, (4, 3)), Case({"axis": [1, 2]}, (4, 3))]
    ),
    "RMSNormalization": with_masks(
        [
            Case({}, (4, 3)),
            Case({"axis": [1, 2], "epsilon": 1e-3}, (4, 3)),
            Case({"axis": 1}, (3, 3)),
        ]
    ),
}

PREPROCESSING = {
    "Rescaling": with_masks(
        [
            Case({"scale": 0.1, "offset": 0.0}, (4, 2)),
            Case({"scale": 1 / 255, "offset": -0.5}, (3, 3), "pixels"),
            Case({"scale": [0.1, 0.2], "offset": [1.0, 2.0]}, (3, 2)),
        ]
    ),
    "Normalization": with_masks(
        [
            Case({}, (4, 3)),
            Case({"axis": None}, (3,)),
            Case({"axis": [1, -1]}, (2, 3)),
            Case({"axis": 1}, (2, 3)),
            Case({"invert": True}, (3,)),
            Case({"mean": 0.3, "variance": 1.7}, (3,)),
            Case({"mean": [0.1, 0.2, 0.3], "variance": [1.1, 1e-20, 0.3]}, (2, 3)),
            Case(
                {
                    "axis": [1, 2],
                    "mean": [0.1, 0.2, 0.3],
                    "variance": [1.1, 0.2, 0.3],
                    "invert": True,
                },
                (2, 3),
            ),
        ]
    ),
}

RESHAPING = {
    "Flatten": [
        Case({}, (2, 3)),
        Case({"data_format": FIRST}, (2, 3, 2)),
        Case({}, (3,)),
        Case({}, (2, 3), masked=True),
    ],
    "Reshape": [
        Case({"target_shape": (3, 2)}, (6,)),
        Case({"target_shape": (-1, 2)}, (3, 4)),
        Case({"target_shape": (6,)}, (2, 3)),
    ],
    "Permute": [Case({"dims": (2, 1)}, (2, 3)), Case({"dims": (3, 1, 2)}, (2, 3, 4))],
    "RepeatVector": [Case({"n": 3}, (2,))],
    "ZeroPadding1D": [
        Case({}, (3, 2)),
        Case({"padding": (0, 2)}, (3, 2)),
        Case({"padding": 2, "data_format": FIRST}, (3, 2)),
    ],
    "ZeroPadding2D": [
        Case({}, (2, 3, 2)),
        Case({"padding": ((0, 2), (1, 0)), "data_format": FIRST}, (2, 3, 2)),
    ],
    "ZeroPadding3D": [
        Case({}, (2, 2, 2, 1)),
        Case({"padding": ((0, 2), (1, 0), (1, 1)), "data_format": FIRST}, (1, 2, 2, 2)),
    ],
    "Cropping1D": [Case({}, (4, 2)), Case({"cropping": (0, 2)}, (4, 2))],
    "Cropping2D": [
        Case({"cropping": 1}, (3, 4, 2)),
        Case({"cropping": ((0, 2), (1, 0)), "data_format": FIRST}, (2, 4, 3)),
    ],
    "Cropping3D": [
        Case({}, (3, 3, 4, 1)),
        Case({"cropping": ((0, 2), (1, 0), (0, 0)), "data_format": FIRST}, (1, 4, 3, 2)),
    ],
    "UpSampling1D": [Case({}, (3, 2)), Case({"size": 3}, (2, 2))],
    "UpSampling2D": [
        Case({}, (2, 3, 2)),
        Case({"size": (3, 2), "data_format": FIRST}, (2, 2, 3)),
        # TensorFlow interpolates images in float32, whatever the input
        Case({"size": (3, 2), "interpolation": "bilinear"}, (4, 3, 2), double=SINGLE),
        Case({"size": (3, 2), "interpolation": "bicubic"}, (5, 3, 2), double=SINGLE),
        Case(
            {"size": (2, 3), "interpolation": "lanczos3", "data_format": FIRST},
            (2, 4, 7),
            double=SINGLE,
        ),
        Case({"size": (2, 3), "interpolation": "lanczos5"}, (6, 4, 1), double=SINGLE),
    ],
    "UpSampling3D": [
        Case({}, (2, 1, 2, 2)),
        Case({"size": (1, 2, 3), "data_format": FIRST}, (1, 2, 2, 2)),
    ],
}
