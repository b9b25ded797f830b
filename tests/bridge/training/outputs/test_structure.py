"""What is given for several outputs finds them, in whichever of Keras' ways it is given."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge._src.description.graph import Named, Node, TensorRef
from bridge._src.training.outputs.losses import losses_of_outputs
from bridge._src.training.outputs.structure import outputs_of, over_outputs
from lmjax.losses import MeanSquaredError, find_loss

KEYS = st.sampled_from(["p", "q", "r", "s"])
STRUCTURES = st.recursive(
    st.just("leaf"),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
).filter(lambda structure: structure != "leaf")


def numbered(structure):
    """A model with outputs in this structure, and its leaves numbered as the layers are."""
    count = 0

    def walk(part):
        nonlocal count
        if part == "leaf":
            count += 1
            return TensorRef(count - 1), count - 1
        if isinstance(part, list):
            pairs = [walk(item) for item in part]
            return tuple(ref for ref, _ in pairs), [value for _, value in pairs]
        pairs = {name: walk(item) for name, item in part.items()}
        refs = Named(tuple(pairs), tuple(ref for ref, _ in pairs.values()))
        return refs, {name: value for name, (_, value) in pairs.items()}

    outputs, values = walk(structure)
    nodes = tuple(Node(f"layer_{place}", ()) for place in range(count))
    return SimpleNamespace(outputs=outputs, nodes=nodes, inputs=()), values


@given(STRUCTURES)
def test_every_way_of_giving_finds_the_same_outputs(structure):
    model, values = numbered(structure)
    outputs = outputs_of(model)
    order = [output.ref.node for output in outputs]
    assert over_outputs(values, model, "y") == order
    assert over_outputs({f"layer_{place}": place for place in order}, model, "y") == order
    assert over_outputs("mse", model, "loss") == ["mse"] * len(order)
    if len(order) > len(structure):  # otherwise the list has the structure of the outputs
        assert over_outputs(order, model, "y") == order
    for output in outputs:  # a path leads to its output
        found = values
        for step in output.path:
            found = found[step]
        assert found == output.ref.node


@given(STRUCTURES)
def test_what_does_not_fit_is_refused_with_the_names_of_the_outputs(structure):
    model, _ = numbered(structure)
    names = ", ".join(repr(output.name) for output in outputs_of(model))
    for wrong in ({"nowhere": 1}, [1] * 9, {"layer_0": 1, "nowhere": 2}):
        with pytest.raises(TypeError, match="y: the model has") as raised:
            over_outputs(wrong, model, "y")
        assert names in str(raised.value)


def test_outputs_without_a_loss_are_left_out():
    model, _ = numbered({"p": "leaf", "q": ["leaf", "leaf"]})
    losses = losses_of_outputs({"q": [None, "mse"]}, {"q": [5.0, 0.5]}, model, find_loss)
    (part,) = losses.parts
    assert (part.place, part.loss, part.weight) == (2, MeanSquaredError(), 0.5)
    assert part.output.name == "q/1"
    with pytest.raises(ValueError, match="loss: no output of the model has a loss"):
        losses_of_outputs(
            [None, [None, None]], None, numbered(["leaf", ["leaf"] * 2])[0], find_loss
        )
    with pytest.raises(
        ValueError, match=r"^loss of output 'layer_1': there is none of the name 'nothing'"
    ):
        losses_of_outputs(["mse", "nothing"], None, numbered(["leaf"] * 2)[0], find_loss)
    for wrong in (-1.0, float("nan"), "a"):
        with pytest.raises(ValueError, match=r"^loss_weights: .* output 'layer_1', got"):
            losses_of_outputs("mse", [1.0, wrong], numbered(["leaf"] * 2)[0], find_loss)
