"""Operations of Keras that are refused, with the reason."""

from __future__ import annotations

from bridge._src.operations.table import refused

refused(
    "the shape of its result depends on values, which no compiled function can have; "
    "apply it to the data before the model",
    "numpy.Arange",
    "numpy.Bincount",
    "numpy.Nonzero",
    "numpy.Unique",
    "nn.CTCDecode",
)
refused(
    "it runs a Python function, which is in no configuration; write it as a layer of "
    "your own and register a converter for that layer",
    "core.AssociativeScan",
    "core.Cond",
    "core.ForiLoop",
    "core.Map",
    "core.Scan",
    "core.Switch",
    "core.VectorizedMap",
    "core.WhileLoop",
    "linalg.JVP",
)
refused(
    "eigenvectors are only determined up to a factor, and TensorFlow and JAX choose it differently",
    "linalg.Eig",
    "linalg.Eigh",
)
refused(
    "the order within its parts is not defined and differs from backend to backend; use argsort",
    "numpy.Argpartition",
)
refused(
    "it reads the bits of numbers in the dtype of the Keras model, which is not the one "
    "that lmjax computes in",
    "numpy.View",
)
refused("it returns memory without values", "numpy.EmptyLike")
refused("it draws random numbers", "image.ElasticTransform")
refused("it is a loss, not a layer; lmjax has losses of its own", "nn.CTCLoss")

#: Classes that no tensor of a model can enter: a base of others, and windows and constants, which
#: are classes in some versions of Keras.
NO_FUNCTIONS = (
    "math.SegmentReduction",
    "numpy.Bartlett",
    "numpy.Blackman",
    "numpy.Empty",
    "numpy.Eye",
    "numpy.Hamming",
    "numpy.Hanning",
    "numpy.Identity",
    "numpy.Kaiser",
    "numpy.Ones",
    "numpy.Tri",
    "numpy.Zeros",
)
refused(
    "it makes a constant of a number that has to be known when the model is built; give "
    "the constant itself",
    *NO_FUNCTIONS,
)
