"""What a model was compiled with beside its loss is not dropped without a word."""

import re
import warnings

import keras
import numpy as np
import pytest

import bridge
from bridge._src.command.main import main
from lmjax._src.plots.names import NOT_METRICS

X = np.linspace(-1, 1, 12).reshape(-1, 1)


def compiled(package, **options):
    model = package.Sequential([package.layers.Input((1,)), package.layers.Dense(1)])
    model.compile(**({"loss": "mse"} | options))
    return model


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_metrics_are_computed_by_a_fit(package):
    package = pytest.importorskip(package)
    metrics = package.metrics
    model = compiled(
        package,
        metrics=["mae", metrics.MeanAbsoluteError(name="mine")],
        weighted_metrics=[metrics.MeanSquaredError()],
    )
    with warnings.catch_warnings(action="error"):
        history = bridge.fit(model, X, X, epochs=1, verbose=0).history
        bridge.fit(compiled(package), X, X, epochs=1, verbose=0)
    assert set(history) - NOT_METRICS == {"loss", "mae", "mine", "mean_squared_error"}


def test_a_loop_of_ones_own_names_them_too():
    with pytest.warns(UserWarning, match="the metric mae of") as caught:
        bridge.Trainer(compiled(keras, metrics=["mae"]))
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_the_only_loss_may_stand_in_a_list_or_under_the_name_of_the_output(
    package, tmp_path, capsys
):
    package = pytest.importorskip(package)
    np.savez(tmp_path / "data.npz", x=X, y=X)
    path = tmp_path / "model.keras"
    for loss in (
        ["mse"],
        {"out": "mse"},
        {"out": package.losses.MeanSquaredError()},
        [package.losses.MeanSquaredError()],
    ):
        model = package.Sequential(
            [package.layers.Input((1,)), package.layers.Dense(1, name="out")]
        )
        model.compile(loss=loss)
        model.save(path)
        assert bridge.fit(model, X, X, epochs=9, verbose=0).history["loss"][-1] < 1e-9
        assert (
            main(
                [
                    "fit",
                    str(path),
                    str(tmp_path / "data.npz"),
                    "-o",
                    str(tmp_path / "fitted.keras"),
                    "--epochs",
                    "9",
                ]
            )
            == 0
        )
        assert main(["info", str(path)]) == 0
    assert bridge.fit(model, X, X, loss={"out": "mse"}, epochs=1, verbose=0).status
    with pytest.raises(
        TypeError, match="loss: the model has one output, 'out'; got a dictionary of 'in'"
    ):
        bridge.Trainer(model, loss={"in": "mse"})


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_the_command_computes_those_of_files(name, tmp_path, capsys):
    path, data = tmp_path / name, tmp_path / "data.npz"
    np.savez(data, x=X, y=X)
    with warnings.catch_warnings(action="ignore"):  # of the HDF5 format
        compiled(keras, metrics=["mae", keras.metrics.MeanAbsoluteError(name="mine")]).save(path)
    arguments = [
        "fit",
        str(path),
        str(data),
        "-o",
        str(tmp_path / f"fitted-{name}"),
        "--epochs",
        "1",
    ]
    assert main(arguments) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert re.search(r"^before the training: loss \S+, mae \S+, mine \S+$", streams.out, re.M)
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def fit_arguments(folder, model, *more):
    model.save(folder / "model.keras")
    paths = [str(folder / name) for name in ("model.keras", "data.npz", "fitted.keras")]
    return ["fit", *paths[:2], "-o", paths[2], "--epochs", "1", *more]


def test_loss_weights_of_files(tmp_path):
    np.savez(tmp_path / "data.npz", x=X, y=X**2)
    losses = []
    for more in (("--epochs", "9"), ("--epochs", "9", "--loss", "mse")):
        history = tmp_path / f"history{len(losses)}.csv"
        arguments = fit_arguments(tmp_path, compiled(keras, loss_weights=[0.5]), *more)
        assert main([*arguments, "--history", str(history)]) == 0
        losses.append(float(history.read_text().splitlines()[-1].split(",")[1]))
    assert losses[0] == pytest.approx(losses[1] / 2, rel=1e-6)


@pytest.mark.parametrize("losses", [["mse", "mse"], {"height": "mse", "width": None}])
def test_files_with_several_outputs(losses, tmp_path, capsys):
    """Data in a file have targets for one, so that one output with a loss is fitted."""
    np.savez(tmp_path / "data.npz", x=X, y=X)
    inputs = keras.Input((1,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("height", "width")]
    structure = dict(zip(("height", "width"), outputs, strict=True))
    model = keras.Model(inputs, structure if isinstance(losses, dict) else outputs)
    model.compile(loss=losses)
    arguments = fit_arguments(tmp_path, model)
    if isinstance(losses, dict):
        assert main([*arguments, "--validation-split", "0.2"]) == 0
        return
    squares = [keras.losses.MeanSquaredError(), keras.losses.BinaryCrossentropy()]
    model.compile(loss=squares)
    model.save(tmp_path / "model.keras")
    for more in ([], ["--loss", "mse"]):
        assert main([*arguments, *more]) == 2
        error = capsys.readouterr().err
        assert "it has losses for 2 outputs ('height', 'width'), and a file of data" in error
        assert error.count("\n") == 1
