"""Files from strangers: what is damaged or hostile is refused in one clear line, and nothing is
done with it.
"""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

import bridge


@pytest.fixture
def path(saved):
    return saved("mlp")


def _rewrite(path, *, config=None, weights=None, add=()):
    """Replaces members of the archive; ``weights`` changes the open HDF5 file, ``config`` the
    parsed configuration.
    """
    with zipfile.ZipFile(path) as archive:
        data = {name: archive.read(name) for name in archive.namelist()}
    if config is not None:
        described = json.loads(data["config.json"])
        described = config(described) or described
        data["config.json"] = json.dumps(described).encode()
    if weights is not None:
        buffer = io.BytesIO(data["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            weights(file)
        data["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*data.items(), *add]:
            archive.writestr(name, content)


def _refused(path, match):
    with pytest.raises(bridge.ConversionError, match=match) as caught:
        bridge.from_keras(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    _refused(tmp_path / "none.keras", "there is no file")
    (tmp_path / "folder.keras").mkdir()
    _refused(tmp_path / "folder.keras", "is a folder")


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9, 0.999])
def test_truncated_file(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    _refused(path, "not a complete .keras archive")


def test_flipped_bytes_are_noticed(path):
    data = bytearray(path.read_bytes())
    position = data.find(b"\x89HDF") + 700
    data[position] ^= 0xFF
    path.write_bytes(data)
    _refused(path, "not a complete .keras archive .*CRC")


def test_other_zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr("readme", "hello")
    _refused(tmp_path / "x.keras", r"holds no config\.json")


def test_truncated_weights_inside(path):
    with zipfile.ZipFile(path) as archive:
        data = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in data.items():
            archive.writestr(name, content[: len(content) // 2] if name.endswith("h5") else content)
    _refused(path, "truncated or no HDF5 file")


def test_two_members_of_one_name(path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        _rewrite(path, add=[("config.json", "{}")])
    _refused(path, "more than one")


@pytest.mark.slow
def test_expanding_member(path):
    with zipfile.ZipFile(path) as archive:
        data = {name: archive.read(name) for name in archive.namelist()}
    data["config.json"] += b" " * (300 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in data.items():
            archive.writestr(name, content)
    _refused(path, "more than any model needs|claims")


@pytest.mark.parametrize(
    "config",
    [
        lambda config: [1],
        lambda config: {"class_name": "Sequential"},
        lambda config: config["config"].update(layers=3),
        lambda config: config["config"].update(layers=[]),
        lambda config: config["config"]["layers"][0]["config"].update(batch_shape="wide"),
        lambda config: config["config"]["layers"][0]["config"].update(batch_shape=[None, "3"]),
        lambda config: config["config"]["layers"][0].pop("config"),
        lambda config: config["config"]["layers"][1].pop("class_name"),
        lambda config: config.update(class_name="Own", module="my.models"),
    ],
)
def test_nonsense_configuration(path, config):
    _rewrite(path, config=config)
    with pytest.raises(bridge.ConversionError, match=str(path)):
        bridge.from_keras(path)


def test_nonsense_options_are_blamed_on_their_layer(path):
    _rewrite(path, config=lambda config: config["config"]["layers"][1]["config"].pop("units"))
    with pytest.raises(bridge.ConversionError):
        bridge.from_keras(path)


def test_deeply_nested_configuration(path):
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[" * 200_000)
        archive.writestr("model.weights.h5", weights)
    _refused(path, "damaged")


def test_a_huge_layer_allocates_nothing(path):
    _rewrite(
        path, config=lambda config: config["config"]["layers"][1]["config"].update(units=10**12)
    )
    with pytest.raises(bridge.ConversionError, match="do not have the shapes"):
        bridge.from_keras(path)


def _first(file):
    return "layers/dense/vars/0"


def _external_link(file):
    del file[_first(file)]
    file[_first(file)] = h5py.ExternalLink("other.h5", "/x")


def _soft_link(file):
    del file[_first(file)]
    file[_first(file)] = h5py.SoftLink("/layers/dense/vars/1")


def _linked_group(file):
    del file["layers/dense"]
    file["layers/dense"] = h5py.ExternalLink("other.h5", "/x")


def _external_data(file):
    del file[_first(file)]
    file["layers/dense/vars"].create_dataset("0", (3, 5), "f4", external=[("/etc/hostname", 0, 60)])


def _virtual(file):
    del file[_first(file)]
    layout = h5py.VirtualLayout((3, 5), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (3, 5))
    file["layers/dense/vars"].create_virtual_dataset("0", layout)


def _bomb(file):
    del file[_first(file)]
    file["layers/dense/vars"].create_dataset(
        "0", (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip"
    )


def _unallocated(file):
    del file[_first(file)]
    file["layers/dense/vars"].create_dataset("0", (10**6, 10**6), "f4")


def _strings(file):
    del file[_first(file)]
    file["layers/dense/vars"]["0"] = "text"


def _missing(file):
    del file[_first(file)]


def _nameless(file):
    file.move("layers/dense/vars/0", "layers/dense/vars/a")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_external_link, "link to elsewhere"),
        (_soft_link, "link to elsewhere"),
        (_linked_group, "link to elsewhere"),
        (_external_data, "lie in another file"),
        (_virtual, "lie in another file"),
        (_bomb, "claim 4000000000000 bytes but store 0"),
        (_unallocated, "claim 4000000000000 bytes but store 0"),
        (_strings, "not numbers"),
        (_missing, r"stores 1 weights|numbered from 0"),
        (_nameless, "numbered from 0"),
    ],
)
def test_hostile_weights(path, change, match):
    _rewrite(path, weights=change)
    _refused(path, match)


def test_weights_of_another_shape(path):
    def reshape(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.ones((4, 5), np.float32)

    _rewrite(path, weights=reshape)
    with pytest.raises(bridge.ConversionError, match="do not have the shapes"):
        bridge.from_keras(path)


_LAYERS = {
    "Resizing": {"height": 10**9, "width": 4},
    "CenterCrop": {"height": 10**9, "width": 4},
    "UpSampling2D": {"size": (10**9, 1), "interpolation": "bilinear"},
    "AveragePooling2D": {"pool_size": [2, 2], "strides": [1, 1], "padding": "same"},
    "AdaptiveMaxPooling2D": {"output_size": (10**9, 2)},
    "ContrastLimitedAdaptiveHistogramEqualization": {"tile_grid_size": (10**9, 2)},
}


@pytest.mark.parametrize("class_name", _LAYERS)
def test_sizes_are_checked_before_anything_is_made_of_them(path, class_name):
    """A few bytes of configuration must not fill the memory."""

    def add(config):
        side = 10**9 if class_name == "AveragePooling2D" else 4
        layers = config["config"]["layers"]
        layers[0]["config"]["batch_shape"] = [None, side, 4, 1]
        options = {"name": "large", "trainable": True, **_LAYERS[class_name]}
        layers[1:] = [
            {
                "class_name": class_name,
                "module": "keras.layers",
                "registered_name": None,
                "config": options,
            }
        ]

    _rewrite(path, config=add, weights=lambda file: file.__delitem__("layers"))
    _refused(path, "ask for a table of .* constants; the configuration is damaged or hostile")


def test_weights_of_no_layer(path):
    def add(file):
        file["layers/dense_7/vars/0"] = np.ones(3, np.float32)

    _rewrite(path, weights=add)
    _refused(path, r"layers/dense_7/vars/0.* belong to no layer")


def test_weights_of_a_layer_of_another_name(path):
    def rename(file):
        file["layers/dense/vars"].attrs["name"] = "elsewhere"

    _rewrite(path, weights=rename)
    _refused(path, "belong to a layer 'elsewhere'")


def test_code_in_the_file_is_never_run(path, tmp_path):
    marker = tmp_path / "ran"
    code = {
        "class_name": "__lambda__",
        "config": {"code": "4wEAAAAA", "defaults": None, "closure": None},
    }
    layer = {
        "class_name": "Lambda",
        "module": "keras.layers",
        "registered_name": None,
        "config": {"name": "evil", "function": code},
    }
    own = {
        "class_name": "open",
        "module": "builtins",
        "registered_name": None,
        "config": {"name": "open", "file": str(marker), "mode": "w"},
    }
    _rewrite(path, config=lambda config: config["config"]["layers"].extend([layer, own]))
    with pytest.raises(bridge.ConversionError) as caught:
        bridge.from_keras(path)
    assert [refusal.layer for refusal in caught.value.refusals] == ["evil", "open"]
    assert not marker.exists()
