"""The structures in which functional models return their outputs, and in which their targets are
given.
"""

import warnings

import numpy as np
import pytest

import bridge
from bridge._src.command.main import main

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = np.tanh(X[:, :1])


def parts(keras):
    inputs = keras.layers.Input((3,))
    hidden = keras.layers.Dense(4, activation="tanh")(inputs)
    first, second = (
        keras.layers.Dense(1, name="first")(hidden),
        keras.layers.Dense(2, name="second")(hidden),
    )
    return inputs, first, second, keras.layers.Concatenate(name="both")([first, second])


def structures(first, second, both):
    return [
        first,
        [first],
        [second, first],
        {"price": first},
        {"sum": both, "parts": [first, second]},
        [{"b": first, "a": second}, both],
        {"outer": {"inner": first}},
    ]


def shapes(tree):
    if isinstance(tree, dict):
        return {name: shapes(tree[name]) for name in sorted(tree)}
    return [shapes(item) for item in tree] if isinstance(tree, (list, tuple)) else tuple(tree.shape)


@pytest.mark.parametrize("number", range(7))
def test_structures_are_those_of_keras_live_and_in_files(number, keras, tmp_path, capsys):
    inputs, *outputs = parts(keras)
    model = keras.Model(inputs, structures(*outputs)[number])
    model.save(tmp_path / "model.keras")
    expected = model(X)
    for source in (model, tmp_path / "model.keras"):
        converted = bridge.from_keras(source)
        for found in (converted(converted.params, X), converted.pure()(converted.params, X)):
            assert shapes(found) == shapes(expected)
    assert bridge.verify(model, X).error < 5e-6
    assert main(["info", str(tmp_path / "model.keras")]) == 0
    count = len(keras.tree.flatten(expected))
    said = capsys.readouterr().out
    assert (
        f"{10_000 * sum(leaf.shape[1] for leaf in keras.tree.flatten(expected)):,} residuals"
        in said
    )
    assert (f"the model has {count} outputs" in said) == (count > 1)


@pytest.mark.slow
@pytest.mark.parametrize("targets", [Y, {"price": Y}, {"first": Y}])
def test_one_output_in_a_dictionary_is_trained(targets, keras):
    inputs, first, _, _ = parts(keras)
    model = keras.Model(inputs, {"price": first})
    model.compile(loss="mse")
    history = bridge.fit(
        model, X, targets, epochs=3, validation_data=(X[:5], {"price": Y[:5]}), verbose=0
    ).history
    assert history["loss"][-1] == pytest.approx(
        model.evaluate(X, {"price": Y}, verbose=0), rel=1e-4
    )
    assert history["val_loss"][-1] == pytest.approx(
        model.evaluate(X[:5], {"price": Y[:5]}, verbose=0), rel=1e-4
    )
    trainer = bridge.Trainer(model)
    assert trainer.step(X, {"price": Y}, {"price": np.full(24, 2.0)}) == pytest.approx(
        2 * history["loss"][-1], rel=1e-4
    )
    streamed = bridge.fit(
        model, [(X[:12], {"price": Y[:12]}), (X[12:], Y[12:])], epochs=1, verbose=0
    )
    assert streamed.history["loss"][-1] <= history["loss"][-1] * (1 + 1e-4)


def test_targets_of_something_else_are_named(keras):
    inputs, first, second, _ = parts(keras)
    model = keras.Model(inputs, {"price": first})
    model.compile(loss="mse")
    with pytest.raises(
        TypeError, match="y: the model has one output, 'price'; got a dictionary of 'cost'"
    ):
        bridge.fit(model, X, {"cost": Y}, verbose=0)
    with pytest.raises(
        TypeError,
        match="sample_weight: the model has one output, 'price'; got a dictionary of 'cost', "
        "'price'",
    ):
        bridge.fit(model, X, Y, sample_weight={"cost": Y, "price": Y}, verbose=0)
    with pytest.raises(TypeError, match="y: the model has 2 outputs, 'first', 'second'"):
        bridge.fit(keras.Model(inputs, [first, second]), X, {"cost": Y}, loss="mse", verbose=0)


@pytest.mark.slow
def test_keras_2(tmp_path, capsys):
    tf_keras = pytest.importorskip("tf_keras")
    inputs, first, second, both = parts(tf_keras)
    for outputs in structures(first, second, both)[:5]:
        model = tf_keras.Model(inputs, outputs)
        expected = shapes(model(X))
        sources = {"live": model}
        for kind in ("h5", "keras"):
            sources[kind] = tmp_path / f"model.{kind}"
            with warnings.catch_warnings(action="ignore"):  # of the HDF5 format
                model.save(sources[kind])
            assert main(["info", str(sources[kind])]) == 0
        for source in sources.values():
            converted = bridge.from_keras(source)
            assert shapes(converted.pure()(converted.params, X)) == expected
    assert "residuals" in capsys.readouterr().out
    model = tf_keras.Model(inputs, {"price": first})
    model.compile(loss="mse")
    history = bridge.fit(model, X, {"price": Y}, epochs=2, verbose=0).history["loss"][-1]
    assert history == pytest.approx(model.evaluate(X, {"price": Y}, verbose=0), rel=1e-4)
