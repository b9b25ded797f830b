"""HDF5 files and bundles from strangers: each one is refused in one clear line, and nothing is done
with it.
"""

from __future__ import annotations

import io
import json
import time
import zipfile

import h5py
import numpy as np
import pytest

import bridge

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
KERNEL = "model_weights/dense/mlp/dense/kernel"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One model as an HDF5 file, a bundle and a file of weights."""
    import keras

    layers = [
        keras.Input((3,)),
        keras.layers.Dense(5, "tanh", name="dense"),
        keras.layers.Dense(2, name="head"),
    ]
    model = keras.Sequential(layers, name="mlp")
    folder = tmp_path_factory.mktemp("files")
    model.save(folder / "model.h5")
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    bridge.pack(model, folder / "model.lmjax")
    return folder


def _refused(path, match, **options):
    with pytest.raises(bridge.ConversionError, match=match) as caught:
        bridge.from_keras(path, **options)
    assert str(options.get("weights", path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def _replaced(create):
    def change(file):
        group, name = KERNEL.rsplit("/", 1)
        del file[KERNEL]
        create(file[group], name)

    return change


def _virtual(group, name):
    layout = h5py.VirtualLayout((3, 5), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (3, 5))
    group.create_virtual_dataset(name, layout)


def _linked_layer(file):
    del file["model_weights/dense"]
    file["model_weights/dense"] = h5py.ExternalLink("other.h5", "/x")


def _attribute(place, name, value):
    def change(file):
        file[place].attrs[name] = value

    return change


def _lambda(file):
    config = json.loads(file.attrs["model_config"])
    code = {
        "class_name": "__lambda__",
        "config": {"code": "4wEAAAAA", "defaults": None, "closure": None},
    }
    config["config"]["layers"].append(
        {"class_name": "Lambda", "config": {"name": "evil", "trainable": True, "function": code}}
    )
    file.attrs["model_config"] = json.dumps(config)


HDF5 = {
    "external link": (
        _replaced(lambda group, name: group.__setitem__(name, h5py.ExternalLink("other.h5", "/x"))),
        "link to elsewhere",
    ),
    "soft link": (
        _replaced(lambda group, name: group.__setitem__(name, h5py.SoftLink("/x"))),
        "link to elsewhere",
    ),
    "linked layer": (_linked_layer, "link to elsewhere"),
    "external data": (
        _replaced(
            lambda group, name: group.create_dataset(
                name, (3, 5), "f4", external=[("/etc/hostname", 0, 60)]
            )
        ),
        "lie in another file",
    ),
    "virtual": (_replaced(_virtual), "lie in another file"),
    "bomb": (
        _replaced(
            lambda group, name: group.create_dataset(
                name, (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip"
            )
        ),
        "claim 4000000000000 bytes but store 0",
    ),
    "unallocated": (
        _replaced(lambda group, name: group.create_dataset(name, (10**6, 10**6), "f4")),
        "claim 4000000000000 bytes but store 0",
    ),
    "text": (_replaced(lambda group, name: group.__setitem__(name, "text")), "not numbers"),
    "missing": (_replaced(lambda group, name: None), "which the file does not hold"),
    "a group in its place": (
        _replaced(lambda group, name: group.create_group(name)),
        "which the file does not hold",
    ),
    "other shape": (
        _replaced(lambda group, name: group.__setitem__(name, np.ones((4, 5), "f4"))),
        "do not have the shapes",
    ),
    "path out of the group": (
        _attribute("model_weights/dense", "weight_names", ["../../head/mlp/head/kernel", "b"]),
        "does not hold",
    ),
    "names that are numbers": (
        _attribute("model_weights/dense", "weight_names", [1, 2]),
        "no list of names",
    ),
    "too few names": (
        _attribute("model_weights/dense", "weight_names", ["mlp/dense/kernel"]),
        "stores 1 weights",
    ),
    "swapped names": (
        _attribute("model_weights/dense", "weight_names", ["mlp/dense/bias", "mlp/dense/kernel"]),
        "in the order",
    ),
    "no layers": (_attribute("model_weights", "layer_names", ["x"]), "weights of 0 layers"),
    "no weights": (lambda file: file.__delitem__("model_weights"), "no group model_weights"),
    "configuration that is no JSON": (
        _attribute("/", "model_config", "{"),
        "configuration is damaged",
    ),
    "configuration that is a list": (
        _attribute("/", "model_config", "[1]"),
        "does not describe a model",
    ),
    "configuration that is a number": (_attribute("/", "model_config", 3), "no model_config"),
    "deep configuration": (
        _attribute("/", "model_config", "[" * 200_000),
        "configuration is damaged",
    ),
    "no configuration": (lambda file: file.attrs.__delitem__("model_config"), "no model_config"),
}


@pytest.mark.parametrize("case", HDF5)
def test_hdf5_models(case, files, tmp_path):
    change, match = HDF5[case]
    path = tmp_path / "model.h5"
    path.write_bytes((files / "model.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    _refused(path, match)


def test_code_in_an_hdf5_file_is_never_run(files, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((files / "model.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        _lambda(file)
    with pytest.raises(bridge.ConversionError) as caught:
        bridge.from_keras(path)
    assert [refusal.layer for refusal in caught.value.refusals] == ["evil"]


WEIGHTS = {
    "external link": lambda file: file.__setitem__(
        "layers/dense/vars", h5py.ExternalLink("other.h5", "/x")
    ),
    "linked layer": lambda file: file.__setitem__(
        "layers/dense", h5py.ExternalLink("other.h5", "/x")
    ),
    "soft link": lambda file: file.__setitem__(
        "layers/dense/vars/0", h5py.SoftLink("/layers/dense/vars/1")
    ),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_links_in_files_of_weights(case, files, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes((files / "model.weights.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        del file[
            {
                "external link": "layers/dense/vars",
                "linked layer": "layers/dense",
                "soft link": "layers/dense/vars/0",
            }[case]
        ]
        WEIGHTS[case](file)
    _refused(files / "model.keras", "link to elsewhere", weights=path)


@pytest.mark.parametrize("name", ["model.h5", "model.lmjax", "model.weights.h5", "model.keras"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.999])
def test_truncated(name, keep, files, tmp_path):
    data = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(keep * len(data))])
    if name == "model.weights.h5":
        _refused(files / "model.keras", "truncated or no HDF5 file", weights=path)
    else:
        _refused(path, r"truncated or no HDF5 file|is not a complete|cannot be read")


@pytest.mark.parametrize("ending", ["h5", "lmjax", "keras"])
def test_missing_and_folder(ending, tmp_path):
    _refused(tmp_path / f"none.{ending}", "there is no file")
    (tmp_path / f"folder.{ending}").mkdir()
    _refused(tmp_path / f"folder.{ending}", "is a folder")


def _bundle(files, tmp_path, header=None, arrays=None, add=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(files / "model.lmjax") as archive:
        data = {name: archive.read(name) for name in archive.namelist()}
    if header is not None:
        described = json.loads(data["bundle.json"])
        data["bundle.json"] = json.dumps(header(described) or described).encode()
    path = tmp_path / "model.lmjax"
    if arrays is not None:
        (tmp_path / "arrays").write_bytes(data["weights.npz"])
        with np.load(tmp_path / "arrays") as old:
            values = arrays(dict(old))
        with open(tmp_path / "arrays", "wb") as file:
            np.savez(file, **values)
        data["weights.npz"] = (tmp_path / "arrays").read_bytes()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in [*data.items(), *add]:
            archive.writestr(name, content)
    return path


def _entry(**changes):
    return lambda header: header["weights"][0].update(changes)


BUNDLES = {
    "newer version": (
        {"header": lambda header: header.update(version=2)},
        "written by a newer lmjax .bundle version 2.* upgrade lmjax",
    ),
    "other format": (
        {"header": lambda header: header.update(format="other")},
        "not that of a bundle",
    ),
    "no version": ({"header": lambda header: header.update(version=None)}, "not that of a bundle"),
    "no model": ({"header": lambda header: header.pop("model") and None}, "lacks the model"),
    "a list": ({"header": lambda header: [1]}, "does not describe a model"),
    "path out of the folder": ({"add": [("../../evil", "x")]}, "should hold .* and nothing else"),
    "absolute path": ({"add": [("/etc/evil", "x")]}, "should hold .* and nothing else"),
    "compressed": ({"compression": zipfile.ZIP_DEFLATED}, "damaged or hostile"),
    "absurd shape": ({"header": _entry(shape=[10**9, 10**9])}, "do not have the shapes"),
    "negative shape": ({"header": _entry(shape=[-1])}, "makes no sense"),
    "objects": ({"header": _entry(dtype="object")}, "makes no sense"),
    "array of another name": ({"header": _entry(array="../0")}, "nothing else"),
    "listed twice": (
        {"header": lambda header: header["weights"].append(header["weights"][0])},
        "twice",
    ),
    "missing weights": (
        {"header": lambda header: header["weights"].pop(0) and None},
        r"nothing else|lacks",
    ),
    "weights of no layer": (
        {"header": _entry(path=["other", "kernel"])},
        r"lacks the weights dense/kernel",
    ),
    "other dtype": (
        {"arrays": lambda values: values | {"0": values["0"].astype("f8")}},
        "damaged or hostile",
    ),
    "pickled": (
        {"arrays": lambda values: values | {"0": np.array([{}], dtype=object)}},
        "damaged or hostile",
    ),
    "Fortran order": (
        {"arrays": lambda values: values | {"0": np.asfortranarray(values["0"])}},
        "damaged or hostile",
    ),
    "more arrays": ({"arrays": lambda values: values | {"../evil": np.ones(2)}}, "nothing else"),
    "huge layer": (
        {
            "header": lambda header: header["model"]["config"]["layers"][1]["config"].update(
                units=10**12
            )
        },
        "do not have the shapes",
    ),
}


@pytest.mark.parametrize("case", BUNDLES)
def test_bundles(case, files, tmp_path):
    options, match = BUNDLES[case]
    path = _bundle(files, tmp_path, **options)
    _refused(path, match)


@pytest.mark.parametrize("position", [0.2, 0.5, 0.7, 0.9])
def test_flipped_bits_in_a_bundle_are_noticed(position, files, tmp_path):
    data = bytearray((files / "model.lmjax").read_bytes())
    start = data.find(b"\x93NUMPY")
    at = start + 128 + int(position * 40) if position > 0.4 else int(position * start)
    data[at] ^= 0xFF
    (tmp_path / "model.lmjax").write_bytes(data)
    _refused(tmp_path / "model.lmjax", r"CRC|complete bundle|damaged")


def _layer(class_name, name, *calls, **config):
    described = {
        "module": "keras.layers",
        "class_name": class_name,
        "registered_name": None,
        "name": name,
    }
    return described | {
        "config": {"name": name, "trainable": True, **config},
        "inbound_nodes": [_call(*call) for call in calls],
    }


def _call(layer, number=0):
    return {
        "args": [
            {"class_name": "__keras_tensor__", "config": {"keras_history": [layer, number, 0]}}
        ],
        "kwargs": {},
    }


def _input(*shape):
    return _layer("InputLayer", "in", batch_shape=[None, *shape], dtype="float32")


def _functional(name, layers, *output):
    config = {
        "name": name,
        "trainable": True,
        "layers": layers,
        "input_layers": [["in", 0, 0]],
        "output_layers": [[*output, 0]],
    }
    return {
        "module": "keras",
        "class_name": "Functional",
        "registered_name": "Functional",
        "name": name,
        "config": config,
    }


def _sequential(*layers):
    return {
        "module": "keras",
        "class_name": "Sequential",
        "registered_name": None,
        "config": {"name": "s", "layers": layers},
    }


def _archive(path, config, weights=None):
    if not isinstance(weights, bytes):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_group("layers")
            if weights is not None:
                weights(file)
        weights = buffer.getvalue()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        archive.writestr("model.weights.h5", weights)


def _chain(count):
    """Layers of a chain, the last one first."""
    layers = [
        _layer(
            "Activation", f"a{number}", (f"a{number - 1}" if number else "in",), activation="tanh"
        )
        for number in range(count)
    ]
    return _functional("chain", [_input(3), *reversed(layers)], f"a{count - 1}", 0)


def _twice(depth):
    """A model of two calls of a model of two calls of … one layer."""
    model = _functional(
        "m0", [_input(3), _layer("Activation", "a", ("in",), activation="tanh")], "a", 0
    )
    for level in range(1, depth + 1):
        inner = model | {"inbound_nodes": [_call("in"), _call(f"m{level - 1}")]}
        model = _functional(f"m{level}", [_input(3), inner], f"m{level - 1}", 2)
    return model


def _zipped_twice(units):
    def weights(file):
        options = {"chunks": (3, units // 8), "compression": "gzip", "compression_opts": 9}
        file.create_dataset("layers/dense/vars/0", data=np.zeros((3, units), "f4"), **options)
        file["layers/dense/vars/1"] = np.zeros(units, "f4")

    return weights


def _resizing(count):
    sizes = {"interpolation": "bilinear", "data_format": "channels_last"}
    return [
        _layer("Resizing", f"r{number}", height=1500 + number % 2, width=1500, **sizes)
        for number in range(count)
    ]


_DENSE, _WIDE = (
    _sequential(_input(3), _layer("Dense", "dense", units=units)) for units in (2, 1 << 20)
)
BUDGET = {
    "calls": (_twice(22), None, "called 12,582,911 times"),
    "lists": ("[" + "[]," * 600_000 + "0]", None, "more values than any model needs"),
    "a config of zeros": ("0" * (1 << 27), None, "more than any model needs"),
    "weights of zeros": (_DENSE, b"\0" * 10**7, "no HDF5 file"),
    "shapes before values": (_DENSE, _zipped_twice(1 << 20), "do not have the shapes"),
    "zipped twice": (
        _sequential(_input(3), _layer("Dense", "dense", units=1 << 20)),
        _zipped_twice(1 << 20),
        "more than the file can hold",
    ),
    "constants": (
        _sequential(_input(1500, 1500, 1), *_resizing(30)),
        None,
        "more than 33,554,432 constants",
    ),
    "text of a layer": (
        _sequential(_input(3), _layer("Dense", "\x1b[2Jdense", units=10**30)),
        None,
        "configuration|weights",
    ),
}


@pytest.mark.parametrize("case", BUDGET)
def test_small_files_cost_little(case, tmp_path):
    config, weights, match = BUDGET[case]
    path = tmp_path / "model.keras"
    _archive(path, config, weights)
    assert path.stat().st_size < 300_000
    begin = time.process_time()
    _refused(path, match)
    assert time.process_time() - begin < 20


def test_long_models_in_reverse_order_and_deep_ones_are_read(tmp_path):
    _archive(tmp_path / "model.keras", _chain(1000))
    assert [node.layer for node in bridge.from_keras(tmp_path / "model.keras").graph.nodes] == [
        f"a{number}" for number in range(1000)
    ]
    model = _sequential(_input(3), _layer("Activation", "a", activation="tanh"))
    for _ in range(40):  # each takes the input of the one within it
        model = _sequential(model | {"name": "inner"})
    _archive(tmp_path / "model.keras", model)
    converted = bridge.from_keras(tmp_path / "model.keras")
    np.testing.assert_allclose(
        converted(converted.params, np.ones((1, 3))), np.tanh(np.ones((1, 3))), rtol=1e-6
    )


def test_whatever_a_converter_raises_is_a_refusal(files, tmp_path, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr("bridge._src.module.keras_graph.KerasGraph.children", broken)
    for name in ("model.keras", "model.h5", "model.lmjax"):
        _refused(files / name, "ZeroDivisionError: nobody foresaw this")
    monkeypatch.setattr(
        "bridge._src.module.keras_graph.KerasGraph.children",
        lambda self: (_ for _ in ()).throw(MemoryError()),
    )
    with pytest.raises(MemoryError):
        bridge.from_keras(files / "model.keras")


def test_values_are_written_in_place_and_in_chunks(files, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((files / "model.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        kernel = file[KERNEL][...]
        _replaced(
            lambda group, name: group.create_dataset(
                name, data=kernel, chunks=(2, 2), compression="gzip"
            )
        )(file)
    before = bridge.from_keras(path)
    np.testing.assert_array_equal(before.params["dense"]["kernel"], kernel)
    changed = {
        "dense": {"kernel": kernel + 1, "bias": before.params["dense"]["bias"] + 2},
        "head": before.params["head"],
    }
    bridge.save(changed, path, tmp_path / "saved.h5")
    after = bridge.from_keras(tmp_path / "saved.h5")
    np.testing.assert_array_equal(after.params["dense"]["kernel"], kernel + 1)
    np.testing.assert_array_equal(after.params["dense"]["bias"], changed["dense"]["bias"])
    with h5py.File(tmp_path / "saved.h5") as file:
        np.testing.assert_array_equal(file[KERNEL][...], kernel + 1)
