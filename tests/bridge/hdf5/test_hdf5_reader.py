"""``bridge._src.hdf5`` against the HDF5 library: every form in which it writes groups, attributes
and values; and what is damaged.
"""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bridge._src.hdf5.nodes import Dataset, File, Group
from bridge._src.hdf5.source import HDF5Error, UnreadHDF5Error

FORMATS = ["earliest", ("v108", "v108"), ("v110", "v110")]


def written(fill, libver="earliest", **options):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver, **options) as file:
        fill(file)
    return buffer


def plain(value):
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def assert_same(theirs, ours):
    assert sorted(theirs) == list(ours.links)
    assert {name: plain(theirs.attrs[name]) for name in theirs.attrs} == {
        name: ours.attribute(name) for name in ours.attributes()
    }
    for name in theirs:
        found = ours.get(name)
        if isinstance(theirs[name], h5py.Group):
            assert isinstance(found, Group)
            assert_same(theirs[name], found)
            continue
        assert isinstance(found, Dataset)
        assert found.shape == theirs[name].shape
        assert found.dtype == theirs[name].dtype
        assert found.read().tobytes() == np.asarray(theirs[name][()], found.dtype).tobytes()


DTYPES = ["f2", "f4", "f8", ">f4", ">i8", "i1", "u2", "i4", "u8", "?"]
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/.\0", exclude_categories=["Cs"]),
    min_size=1,
    max_size=9,
)
VALUES = arrays.arrays(
    st.sampled_from(DTYPES), arrays.array_shapes(min_dims=0, max_dims=3, max_side=5)
)
STORAGES = st.sampled_from(
    [
        {},
        {"chunks": True},
        {"compression": "gzip", "shuffle": True},
        {"fletcher32": True, "compression": 9},
    ]
)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
)
ATTRIBUTES = st.one_of(
    TEXTS, st.lists(TEXTS, min_size=1, max_size=4), st.integers(-(2**40), 2**40), st.booleans()
)
TREES = st.recursive(
    st.tuples(VALUES, STORAGES),
    lambda inner: st.tuples(
        st.dictionaries(NAMES, inner, max_size=12), st.dictionaries(NAMES, ATTRIBUTES, max_size=10)
    ),
    max_leaves=25,
)


def fill_tree(group, tree):
    children, attributes = tree
    for name, child in children.items():
        if isinstance(child[0], np.ndarray):
            values, storage = child
            group.create_dataset(
                name, data=values, **(storage if values.size and values.ndim else {})
            )
        else:
            fill_tree(group.create_group(name), child)
    for name, value in attributes.items():
        group.attrs[name] = value


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.tuples(
        st.dictionaries(NAMES, TREES, max_size=12), st.dictionaries(NAMES, ATTRIBUTES, max_size=10)
    ),
    st.sampled_from(FORMATS[:2]),
)
def test_what_the_library_writes_is_read(tree, libver):
    buffer = written(lambda file: fill_tree(file, tree), libver)
    with h5py.File(buffer) as file:
        assert_same(file, File(buffer))


@pytest.mark.parametrize("libver", FORMATS)
@pytest.mark.parametrize("track_order", [False, True])
def test_groups_with_many_links_and_objects_with_many_attributes(libver, track_order):
    def fill(file):
        for number in range(700):
            file.create_group(f"layer_{number}", track_order=track_order).attrs["name"] = (
                f"name {number}"
            )
        for number in range(300):
            file.attrs[f"attribute {number}"] = f"{number} " * (number % 7)
        file.attrs["names"] = [f"dense_{number}/kernel:0" for number in range(3000)]
        file.attrs["config"] = "ü" * 200_000
        file["values"] = np.arange(5.0)

    buffer = written(fill, libver, track_order=track_order)
    with h5py.File(buffer) as file:
        assert_same(file, File(buffer))


def test_attributes_too_large_for_a_header():
    def fill(file):
        file.attrs["large"] = np.array([b"x" * 100] * 2000)
        file.attrs["medium"] = np.arange(1500.0)

    buffer = written(fill, ("v108", "v108"))
    with h5py.File(buffer) as file:
        assert_same(file, File(buffer))


def test_compact_values_and_values_of_no_type():
    def fill(file):
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(
            file.id, b"compact", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((3,)), creation
        ).write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, 2, 3], "f4"))
        file["raw"] = np.arange(4, dtype="u2").view("V2")

    file = File(written(fill))
    assert file.get("compact").read().tolist() == [1, 2, 3]
    assert file.get("raw").read().view("u2").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("create", "match"),
    [
        (lambda file: file.create_dataset("a", data=np.ones(9), compression="lzf"), "filter 32000"),
        (lambda file: file.create_dataset("a", (4,), "f8", chunks=(2,), maxshape=(None,)), None),
        (lambda file: file.create_dataset("a", data="text"), "text, not numbers|holds"),
        (lambda file: file.create_dataset("a", data=np.ones(3, "c8")), "compound"),
        (
            lambda file: file.create_dataset("a", (10**6, 10**6), "f4"),
            "claims 4000000000000 bytes but stores 0",
        ),
        (
            lambda file: file.create_dataset(
                "a", (10**6, 10**6), "f4", chunks=(100, 100), compression="gzip"
            ),
            "claims 4000000000000 bytes",
        ),
    ],
)
def test_what_is_not_read_is_named(create, match):
    with pytest.raises(HDF5Error, match=match):
        File(written(create)).get("a").read()


def test_chunks_of_the_newest_formats_are_left_to_the_library():
    buffer = written(
        lambda file: file.create_dataset("a", data=np.ones((9, 9)), chunks=(2, 2)), "latest"
    )
    with pytest.raises(UnreadHDF5Error, match="libver='latest'"):
        File(buffer).get("a").read()


def test_a_file_behind_a_block_of_the_user_s_is_not_called_damaged():
    for size in (512, 2048):
        with pytest.raises(UnreadHDF5Error, match="userblock_size"):
            File(written(lambda file: file.create_dataset("a", data=1.0), userblock_size=size))


def test_attributes_of_a_type_that_is_stored_elsewhere():
    def fill(file):
        file["type"] = np.dtype("f4")
        file.attrs.create("a", 1.0, dtype=file["type"])

    with pytest.raises(
        UnreadHDF5Error, match="attribute a has a type or a shape that is stored elsewhere"
    ):
        File(written(fill)).attribute("a")


def test_chunks_of_no_dimension():
    content = written(
        lambda file: file.create_dataset("a", data=np.ones(9), chunks=(2,))
    ).getvalue()
    described = b"\3\2\2"  # layout of version 3, in chunks, of as many dimensions and one more
    assert content.count(described) == 1
    for dimensions in (0, 1):
        with pytest.raises(HDF5Error, match="no dimension"):
            File(io.BytesIO(content.replace(described, bytes([3, 2, dimensions])))).get("a").read()


def _heap(content, change):
    """``content`` with ``change`` made to the size of every object in every global heap."""
    new, begin = bytearray(content), content.find(b"GCOL")
    while begin >= 0:
        end, at = begin + int.from_bytes(content[begin + 8 : begin + 16], "little"), begin + 16
        while at + 16 <= end and (number := int.from_bytes(content[at : at + 2], "little")):
            size = int.from_bytes(content[at + 8 : at + 16], "little")
            new[at + 8 : at + 16] = change(size, number).to_bytes(8, "little")
            at += 16 + size + -size % 8
        begin = content.find(b"GCOL", end)
    return bytes(new)


@pytest.mark.parametrize(
    "change",
    [
        lambda size, number: 0,
        lambda size, number: (1 << 64) - 1,
        lambda size, number: size * 10_000,
    ],
)
def test_heaps_on_which_the_library_hangs_or_crashes(change):
    content = written(lambda file: file.attrs.update(a="text", b="more text")).getvalue()
    assert File(io.BytesIO(_heap(content, lambda size, number: size))).attribute("a") == "text"
    with pytest.raises(HDF5Error):
        File(io.BytesIO(_heap(content, change))).attribute("a")


def test_trees_that_contain_themselves():
    content = written(
        lambda file: [file.create_group(f"{number:04}") for number in range(2000)]
    ).getvalue()
    # An inner node; its first child stands behind the head and a key.
    at = content.index(b"TREE\0\1")
    loop = content[: at + 32] + at.to_bytes(8, "little") + content[at + 40 :]
    assert len(File(io.BytesIO(content)).links) == 2000
    with pytest.raises(HDF5Error, match=r"wrong node|contains itself"):
        File(io.BytesIO(loop)).links  # noqa: B018


def test_parts_that_are_shared_without_end():
    """Many groups whose links all lie in one tree take as long as their product."""
    content = written(lambda file: [file.create_group(f"{number:04}") for number in range(300)])
    file = File(content)
    with pytest.raises(HDF5Error, match="without end"):
        [Group(file, "/", file._messages).links for _ in range(1000)]


@settings(max_examples=150, deadline=2000, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damage_is_the_only_thing_that_is_raised(data):
    def fill(file):
        for number in range(12):
            file[f"layer/{number}/values"] = np.arange(number)
            file[f"layer/{number}"].attrs["name"] = f"dense_{number}"
        file.create_dataset("packed", data=np.ones((20, 20)), chunks=(6, 6), compression="gzip")

    content = bytearray(written(fill, data.draw(st.sampled_from(FORMATS[:2]))).getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 8))
        content[at : at + 8] = data.draw(
            st.sampled_from([0, 1, at, len(content), (1 << 64) - 1, 1 << 31])
        ).to_bytes(8, "little")
    try:
        file = File(io.BytesIO(content))
        for dataset in file.walk():
            if dataset.dtype is not None:
                dataset.read()
            list(map(dataset.attribute, dataset.attributes()))
    except (HDF5Error, UnicodeDecodeError):
        pass
