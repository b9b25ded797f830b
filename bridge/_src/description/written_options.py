"""Options that Keras has written for its own classes since Keras 2.0, by which files without
modules tell them from others.

The HDF5 format and Keras 2 name a class and nothing else. A layer ``Attention`` or
``LayerNormalization`` of the user's own, which such files hold often, is not Keras' layer of that
name, and mostly writes other options.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge._src.typing import Serialized

_NORMALIZATION = ("axis", "epsilon", "center", "scale")
_CONVOLUTION = ("kernel_size", "strides", "padding", "activation", "use_bias")
_RECURRENT = ("units", "activation", "use_bias")
_POOLING = ("pool_size", "strides", "padding")

#: The options by class; a slash separates names of one option in Keras 2 and 3.
_LAYERS: Mapping[str, tuple[str, ...]] = {
    "Activation": ("activation",),
    "ActivityRegularization": ("l1", "l2"),
    "AdditiveAttention": ("use_scale",),
    "AlphaDropout": ("rate",),
    "Attention": ("use_scale",),
    "BatchNormalization": _NORMALIZATION,
    "Bidirectional": ("layer", "merge_mode"),
    "CategoryEncoding": ("num_tokens", "output_mode"),
    "CenterCrop": ("height", "width"),
    "Concatenate": ("axis",),
    "Dense": ("units", "activation", "use_bias"),
    "DepthwiseConv1D": _CONVOLUTION,
    "DepthwiseConv2D": _CONVOLUTION,
    "Dot": ("axes", "normalize"),
    "Dropout": ("rate",),
    "ELU": ("alpha",),
    "EinsumDense": ("equation", "output_shape", "activation", "bias_axes"),
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "GRU": (*_RECURRENT, "recurrent_activation", "return_sequences"),
    "GRUCell": (*_RECURRENT, "recurrent_activation"),
    "GaussianDropout": ("rate",),
    "GaussianNoise": ("stddev",),
    "GroupNormalization": ("groups", *_NORMALIZATION),
    "LSTM": (*_RECURRENT, "recurrent_activation", "return_sequences"),
    "LSTMCell": (*_RECURRENT, "recurrent_activation"),
    "LayerNormalization": _NORMALIZATION,
    "LeakyReLU": ("alpha/negative_slope",),
    "Masking": ("mask_value",),
    "MultiHeadAttention": ("num_heads", "key_dim", "use_bias"),
    "Normalization": ("axis",),
    "PReLU": ("shared_axes",),
    "Permute": ("dims",),
    "RNN": ("cell", "return_sequences"),
    "ReLU": ("max_value",),
    "RepeatVector": ("n",),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "Resizing": ("height", "width", "interpolation"),
    "SimpleRNN": (*_RECURRENT, "return_sequences"),
    "SimpleRNNCell": _RECURRENT,
    "Softmax": ("axis",),
    "SpectralNormalization": ("layer", "power_iterations"),
    "StackedRNNCells": ("cells",),
    "TimeDistributed": ("layer",),
    "UnitNormalization": ("axis",),
    **{f"{kind}{n}D": _POOLING for kind in ("AveragePooling", "MaxPooling") for n in (1, 2, 3)},
    **{
        f"Conv{n}D{kind}": ("filters", *_CONVOLUTION)
        for kind in ("", "Transpose")
        for n in (1, 2, 3)
    },
    **{f"SeparableConv{n}D": ("filters", *_CONVOLUTION) for n in (1, 2)},
    **{f"ConvLSTM{n}D": ("filters", *_CONVOLUTION, "recurrent_activation") for n in (1, 2, 3)},
    **{f"SpatialDropout{n}D": ("rate",) for n in (1, 2, 3)},
    **{f"Cropping{n}D": ("cropping",) for n in (1, 2, 3)},
    **{f"UpSampling{n}D": ("size",) for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": ("padding",) for n in (1, 2, 3)},
}
_OTHERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "losses": {
        f"{kind}Crossentropy": ("from_logits",)
        for kind in ("Binary", "Categorical", "SparseCategorical")
    },
    "regularizers": {
        "L1": ("l1",),
        "L2": ("l2",),
        "L1L2": ("l1", "l2"),
        "OrthogonalRegularizer": ("factor", "mode"),
    },
    "constraints": {
        "MaxNorm": ("max_value", "axis"),
        "MinMaxNorm": ("min_value", "max_value", "rate", "axis"),
        "UnitNorm": ("axis",),
    },
}
#: The options by kind of object and class.
WRITTEN_OPTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {"layers": _LAYERS, **_OTHERS}


def lacks_written_options(name: str, config: Serialized, kind: str) -> bool:
    """Whether a serialized object called ``name`` lacks options that Keras writes for its own class
    of that name.
    """
    if not isinstance(config, Mapping):
        return False
    written = WRITTEN_OPTIONS.get(kind, {}).get(name, ())
    return any(all(spelling not in config for spelling in option.split("/")) for option in written)
