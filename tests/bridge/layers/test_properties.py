"""Random options and sizes of the convolution and pooling layers against Keras on TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

from bridge._src.layers.convolutional.convolution import Convolution
from lmjax._src.runtime.precision import scope
from tests.bridge.layers import oracle
from tests.bridge.layers.cases import Case

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
SMALL = st.integers(1, 3)


@st.composite
def convolutions(draw: Any) -> tuple[str, Case]:
    rank = draw(st.integers(1, 2))
    kind = draw(
        st.sampled_from(["Conv{}D", "Conv{}DTranspose", "DepthwiseConv{}D", "SeparableConv{}D"])
    )
    groups = draw(st.integers(1, 2)) if kind == "Conv{}D" else 1
    kernel_size = draw(st.tuples(*[SMALL] * rank))
    # TensorFlow has no unequal strides for depthwise convolutions, and no strides with dilation for
    # the others
    strides = draw(st.tuples(*[SMALL] * rank)) if kind.startswith("Conv") else (draw(SMALL),) * rank
    dilation = (
        (1,) * rank if max(strides) > 1 or "Transpose" in kind else draw(st.tuples(*[SMALL] * rank))
    )
    options: dict[str, Any] = {
        "kernel_size": kernel_size,
        "strides": strides,
        "dilation_rate": dilation,
    }
    options["padding"] = draw(
        st.sampled_from(
            ["valid", "same", "causal"] if kind.format(rank) == "Conv1D" else ["valid", "same"]
        )
    )
    options["use_bias"] = draw(st.booleans())
    if not kind.startswith("Depthwise"):
        options["filters"] = groups * draw(st.integers(1, 2))
    if kind == "Conv{}D":
        options["groups"] = groups
    elif "Transpose" not in kind:
        options["depth_multiplier"] = draw(st.integers(1, 2))
    elif draw(st.booleans()):
        options["output_padding"] = tuple(draw(st.integers(0, stride - 1)) for stride in strides)
    spatial = draw(st.tuples(*[st.integers(1, 8)] * rank))
    return kind.format(rank), Case(options, (*spatial, groups * draw(st.integers(1, 2))))


@st.composite
def poolings(draw: Any) -> tuple[str, Case]:
    rank = draw(st.integers(1, 2))
    options = {
        "pool_size": draw(st.tuples(*[SMALL] * rank)),
        "strides": draw(st.one_of(st.none(), st.tuples(*[SMALL] * rank))),
        "padding": draw(st.sampled_from(["valid", "same"])),
    }
    spatial = draw(st.tuples(*[st.integers(1, 8)] * rank))
    return f"{draw(st.sampled_from(['Max', 'Average']))}Pooling{rank}D", Case(
        options, (*spatial, 2)
    )


def _agrees(class_name: str, case: Case) -> None:
    import tensorflow

    try:
        model = oracle.build(class_name, case, "float64")
        oracle.randomise(model.layers[-1])
        x = oracle.sample(case)
        expected, _ = oracle.run(model, x)
    except ValueError:  # the window is larger than the input, and Keras says so
        reject()
    except tensorflow.errors.InvalidArgumentError as error:
        # An output_padding that "same" padding cannot give.
        if "doesn't match computed" in str(error):
            reject()
        raise
    layer = model.layers[-1]
    module = oracle.converted(layer)
    with scope("float64"):
        outputs = np.asarray(
            module.apply({"params": oracle.params_of(module, layer, "float64")}, x)
        )
    assert outputs.shape == expected.shape
    np.testing.assert_allclose(outputs, expected, rtol=1e-11, atol=1e-11)
    assert isinstance(module, Convolution) == bool(layer.weights)


@pytest.mark.slow
@EXAMPLES
@given(convolutions())
def test_convolution(drawn: tuple[str, Case]) -> None:
    _agrees(*drawn)


@pytest.mark.slow
@EXAMPLES
@given(poolings())
def test_pooling(drawn: tuple[str, Case]) -> None:
    _agrees(*drawn)
