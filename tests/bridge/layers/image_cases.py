"""Cases of layers on images and signals, of einsum layers and adapters."""

from __future__ import annotations

from typing import Any

from bridge._src.layers.preprocessing.augmentation import LAYERS
from tests.bridge.layers.cases import FIRST, SINGLE, Case, layer
from tests.bridge.layers.wrapper_cases import SHAPE

IMAGE = (5, 6, 2)

#: Layers that Keras cannot put into a model: the symbolic output of an Equalization is its input, a
#: cycle in the graph.
UNBUILDABLE = {"Equalization"}

#: Options without which Keras does not make these augmentation layers.
REQUIRED: dict[str, dict[str, Any]] = {
    "RandomBrightness": {"factor": 0.3},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomContrast": {"factor": 0.5},
    "RandomCrop": {"height": 3, "width": 2},
    "RandomErasing": {"factor": 1.0},
    "RandomGrayscale": {"factor": 1.0},
    "RandomHue": {"factor": 0.5},
    "RandomInvert": {"factor": 1.0},
    "RandomPerspective": {"factor": 1.0},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.3},
    "RandomSaturation": {"factor": 0.5},
    "RandomSharpness": {"factor": 0.5},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3},
    "RandomZoom": {"height_factor": 0.3},
}
AUGMENTATION = {
    name: [Case({**REQUIRED.get(name, {}), "seed": 1}, (5, 6, 3))]
    for name in LAYERS
    if name not in UNBUILDABLE
}


def _adaptive(rank: int) -> list[Case]:
    sizes, shape = (3, 2, 2)[:rank], (7, 4, 5)[:rank]
    return [
        Case({"output_size": sizes}, (*shape, 2)),
        Case({"output_size": sizes, "data_format": FIRST}, (2, *shape)),
        Case({"output_size": shape}, (*shape, 2)),
    ]


ADAPTIVE = {
    f"Adaptive{kind}Pooling{rank}D": _adaptive(rank)
    for kind in ("Average", "Max")
    for rank in (1, 2, 3)
}


def _resizing(shape: tuple[int, ...] = IMAGE, **options: Any) -> Case:
    # TensorFlow interpolates images in float32, whatever the input
    return Case(
        {"height": 4, "width": 3, **options},
        shape,
        double=SINGLE,
        label="-".join(map(str, options.values())),
    )


IMAGES = {
    "Resizing": [
        _resizing(),
        _resizing(height=7, width=13),
        _resizing(interpolation="nearest"),
        _resizing(interpolation="nearest", height=9, width=8),
        _resizing(interpolation="bicubic"),
        _resizing(interpolation="lanczos3", height=8, width=9),
        _resizing(interpolation="lanczos5"),
        _resizing(antialias=True),
        _resizing(antialias=True, interpolation="bicubic"),
        _resizing(antialias=True, interpolation="lanczos3", data_format=FIRST, shape=(2, 9, 7)),
        _resizing(crop_to_aspect_ratio=True, shape=(9, 4, 1)),
        _resizing(pad_to_aspect_ratio=True, fill_value=0.5, shape=(9, 4, 1)),
        _resizing(pad_to_aspect_ratio=True, shape=(3, 8, 1)),
        _resizing(data_format=FIRST, shape=(2, 5, 6)),
    ],
    "AutoContrast": [
        Case({}, IMAGE, "pixels"),
        Case({"value_range": (0, 1)}, IMAGE),
    ],
    # Keras equalizes histograms in float32
    "ContrastLimitedAdaptiveHistogramEqualization": [
        Case({"tile_grid_size": (2, 3)}, (5, 6, 2), "pixels", double=SINGLE),
        Case(
            {"tile_grid_size": (3, 2), "clip_limit": 0.0, "value_range": (-3.0, 3.0)},
            (6, 5, 1),
            double=SINGLE,
        ),
        Case(
            {"tile_grid_size": (2, 2), "clip_limit": 90.0, "data_format": FIRST},
            (2, 6, 6),
            double=SINGLE,
        ),
    ],
    "CenterCrop": [
        Case({"height": 3, "width": 3}, IMAGE),
        Case({"height": 2, "width": 5, "data_format": FIRST}, (2, 5, 6)),
        Case({"height": 7, "width": 3}, IMAGE, double=SINGLE, label="enlarged"),
    ],
}


def _stft(shape: tuple[int, int] = (20, 2), **options: Any) -> Case:
    return Case({"frame_length": 6, **options}, shape, label="-".join(map(str, options.values())))


def _mel(**options: Any) -> Case:
    sizes = {
        "fft_length": 16,
        "sequence_stride": 4,
        "num_mel_bins": 3,
        "sampling_rate": 4000,
        "top_db": 200.0,
    }
    # Keras computes the mel matrix in float32
    return Case(
        {**sizes, **options}, (30,), double=SINGLE, label="-".join(map(str, options.values()))
    )


SPECTROGRAMS = {
    "STFTSpectrogram": [
        *(
            _stft(mode=mode)
            for mode in ("log", "magnitude", "psd", "real", "imag", "stft", "angle")
        ),
        _stft(mode="psd", frame_step=2, fft_length=16, padding="same", expand_dims=True),
        _stft(
            (2, 20), mode="magnitude", data_format=FIRST, expand_dims=True, window="hamming"
        )._replace(turned=True),
        _stft((2, 20), mode="stft", data_format=FIRST)._replace(turned=True),
        _stft(mode="psd", data_format="channels_last", window="hann", periodic=True, scaling=None),
    ],
    "MelSpectrogram": [
        _mel(),
        _mel(power_to_db=False),
        _mel(mag_exp=1.0, ref_power=2.0, window="hamming"),
        _mel(sequence_length=10),
    ],
}

EINSUM = {
    "EinsumDense": [
        Case({"equation": "ab,bc->ac", "output_shape": 3}, (4,)),
        Case(
            {
                "equation": "abc,cd->abd",
                "output_shape": (None, 5),
                "bias_axes": "d",
                "activation": "tanh",
            },
            SHAPE,
        ),
        Case({"equation": "...x,xy->...y", "output_shape": 4, "bias_axes": "y"}, (2, 4, 3)),
        Case({"equation": "abc,bcd->abd", "output_shape": (4, 2), "bias_axes": "bd"}, SHAPE),
        Case({"equation": "abc,cde->abde", "output_shape": (None, 2, 5), "bias_axes": "e"}, SHAPE),
        Case({"equation": "abc,cde->abde", "output_shape": (None, 2, 5), "bias_axes": "d"}, SHAPE),
        Case({"equation": "ab...,bc->ac...", "output_shape": 3, "bias_axes": "c"}, (4, 3, 2)),
        Case({"equation": "abc,cd->abd", "output_shape": (None, 5)}, SHAPE, masked=True),
    ],
    "ReversibleEmbedding": [
        Case({"input_dim": 5, "output_dim": 3}, (4,), "tokens"),
        Case(
            {"input_dim": 5, "output_dim": 3, "mask_zero": True, "tie_weights": False},
            (4,),
            "tokens",
        ),
    ],
}


CONV_LSTM = {
    "ConvLSTM1D": [
        Case({"filters": 2, "kernel_size": 2}, (3, 5, 2)),
        Case(
            {
                "filters": 2,
                "kernel_size": 3,
                "padding": "same",
                "return_sequences": True,
                "strides": 2,
            },
            (3, 5, 2),
        ),
        Case(
            {
                "filters": 2,
                "kernel_size": 2,
                "dilation_rate": 2,
                "go_backwards": True,
                "use_bias": False,
            },
            (3, 5, 2),
        ),
        Case(
            {
                "filters": 2,
                "kernel_size": 2,
                "recurrent_activation": "hard_sigmoid",
                "activation": layer("PReLU"),
            },
            (3, 5, 2),
        ),
    ],
    "ConvLSTM2D": [
        Case({"filters": 2, "kernel_size": (2, 3), "return_sequences": True}, (3, 4, 4, 1)),
        Case({"filters": 2, "kernel_size": 2, "padding": "same", "dropout": 0.1}, (2, 3, 4, 2)),
    ],
    # TensorFlow convolves three dimensions in float64 as well, but slowly; one small case is enough
    "ConvLSTM3D": [Case({"filters": 1, "kernel_size": 2, "padding": "same"}, (2, 2, 3, 2, 1))],
}
