"""Keras' own objects are known from others of the same name, live and serialized, in both
Kerases.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge._src.description.identity import FUNCTIONS, KINDS, is_own, key_of
from bridge._src.description.written_options import WRITTEN_OPTIONS

pytest.importorskip("tensorflow", reason="tf_keras needs it")
tf_keras = pytest.importorskip("tf_keras")

_SERVICES = ("get", "serialize", "deserialize", "Input", "InputSpec", "Reduction")
#: What an object writes, put onto objects that were never initialised.
_WRITES: dict[str, Any] = {"get_config": {}, "get_build_config": None, "get_compile_config": None}


def _exported(kit: Any, kind: str) -> dict[str, Any]:
    """What Keras exports of a kind, by its own names: functions where it writes functions; Metric
    of Keras 2 is abstract.
    """
    found = [
        (name, thing)
        for name, thing in vars(getattr(kit, kind)).items()
        if name not in _SERVICES and not name.startswith("_")
    ]
    whole = kind in ("activations", "losses", "metrics")
    return {
        thing.__name__: thing
        for _, thing in found
        if (isinstance(thing, type) and not inspect.isabstract(thing))
        or (whole and inspect.isfunction(thing))
    }


OWN = [
    (kit, kind, thing)
    for kit in (keras, tf_keras)
    for kind in KINDS
    for thing in _exported(kit, kind).values()
]


def _serialized(kit: Any, kind: str, thing: Any) -> Any:
    """A function, or an object of a class, as what holds it writes it."""
    if kind == "activations":
        return kit.activations.serialize(thing)
    if not isinstance(thing, type):
        return kit.saving.serialize_keras_object(thing)
    made = object.__new__(thing)
    for method, value in _WRITES.items():
        object.__setattr__(made, method, lambda value=value: value)
    return kit.saving.serialize_keras_object(made)


def _of_the_same_name(thing: Any, module: str) -> Any:
    """A class or function of the user's own."""
    if isinstance(thing, type):
        return type(thing.__name__, (thing,), {"__module__": module})

    def own(*arguments: Any) -> Any:
        return arguments[0]

    own.__name__ = own.__qualname__ = thing.__name__
    own.__module__ = module
    return own


def test_keras_own_are_known() -> None:
    assert {(kit.__name__, kind) for kit, kind, _ in OWN} == {
        (kit, kind) for kit in ("keras", "tf_keras") for kind in KINDS
    }
    for kit, kind, thing in OWN:
        assert key_of(thing, kind) == thing.__name__, (kit, kind, thing)
        written = _serialized(kit, kind, thing)
        assert is_own(key_of(written, kind)), (kit, kind, written)


@given(
    st.sampled_from(OWN),
    st.sampled_from(
        [
            "__main__",
            "my_script",
            "layers",
            "keras_contrib.layers",
            "kerasx",
            "tensorflow_addons.losses",
            "my.keras.layers",
        ]
    ),
    st.sampled_from([None, "Custom", "laboratory"]),
)
def test_others_of_their_names_are_not_taken_for_them(
    own: Any, module: str, package: str | None
) -> None:
    kit, kind, thing = own
    other = _of_the_same_name(thing, module)
    if package is not None:
        other = kit.saving.register_keras_serializable(package)(other)
    expected = f"{package or 'Custom'}>{thing.__name__}"
    assert key_of(other, kind) == expected
    written = _serialized(kit, kind, other)
    # A function's name, and nothing else: Keras itself takes it for its own.
    if written == _serialized(kit, kind, thing):
        assert package is None
        assert not isinstance(thing, type)
        assert kind in ("activations", "losses", "metrics")
    else:
        assert key_of(written, kind) == expected


def test_names_that_keras_never_writes_are_those_of_others() -> None:
    functions = {
        thing.__name__
        for _, kind, thing in OWN
        if kind in ("losses", "metrics") and not isinstance(thing, type)
    }
    assert functions == set(FUNCTIONS)
    for kit in (keras, tf_keras):
        for alias in ("mse", "MSE", "mae", "kld"):

            def own(targets: Any, outputs: Any) -> Any:
                return targets - outputs

            own.__name__ = alias
            assert key_of(_serialized(kit, "losses", own), "losses") == f"Custom>{alias}"


@pytest.mark.parametrize("kind", WRITTEN_OPTIONS)
def test_options_by_which_old_files_are_judged_are_those_that_keras_writes(kind: str) -> None:
    for kit in (keras, tf_keras):
        exported = _exported(kit, kind)
        for name in set(WRITTEN_OPTIONS[kind]) & set(exported):
            methods = [
                inspect.getsource(vars(base)["get_config"])
                for base in exported[name].__mro__
                if "get_config" in vars(base)
            ]
            written = "".join(methods) + str(inspect.signature(exported[name].__init__))
            for option in WRITTEN_OPTIONS[kind][name]:
                assert any(spelling in written for spelling in option.split("/")), (
                    kit,
                    name,
                    option,
                )


def test_classes_of_old_files() -> None:
    bare = {"name": "mine", "trainable": True, "dtype": "float32"}
    for name in ("Attention", "LayerNormalization", "GroupNormalization", "PReLU", "Dense", "LSTM"):
        assert key_of({"class_name": name, "config": bare}) == f"Custom>{name}"
    whole = bare | dict.fromkeys(("axis", "epsilon", "center", "scale"))
    assert key_of({"class_name": "LayerNormalization", "config": whole}) == "LayerNormalization"
    assert key_of({"class_name": "Flatten", "config": bare}) == "Flatten"
    assert key_of({"class_name": "laboratory>Dense", "config": bare}) == "laboratory>Dense"
    assert key_of({"class_name": "L2", "config": {"l2": 0.1}}, "regularizers") == "L2"
    assert key_of({"class_name": "L2", "config": {"strength": 0.1}}, "regularizers") == "Custom>L2"
    assert (
        key_of(
            {"class_name": "BinaryCrossentropy", "config": {"name": None, "reduction": "auto"}},
            "losses",
        )
        == "Custom>BinaryCrossentropy"
    )


def test_an_object_of_another_kind_is_another_thing() -> None:
    metric = keras.metrics.MeanSquaredError()
    assert not is_own(key_of(metric, "losses"))
    assert not is_own(key_of(keras.saving.serialize_keras_object(metric), "losses"))
    assert key_of(keras.ops.gelu, "activations") == "keras.src.ops.nn>gelu"
    assert key_of(keras.metrics.mean_squared_error, "losses") == "mean_squared_error"
