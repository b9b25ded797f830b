"""Where outputs go: through links, with the owner and rights of what was there, onto nothing that
is needed, and without remains.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import zipfile
from pathlib import Path

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
from bridge._src.command.main import main
from bridge._src.description.errors import ConversionError
from bridge._src.formats.output import remains
from bridge._src.formats.output.atomic import replacing
from bridge._src.formats.output.targets import same_file

posix = pytest.mark.skipif(os.name == "nt", reason="rights and kinds of files are POSIX's")
root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")


def write(target: Path, content: bytes = b"new") -> None:
    with replacing(target) as file:
        file.write(content)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_links_are_followed(tmp_path):
    (tmp_path / "there").mkdir()
    target, link, dangling = tmp_path / "there" / "model", tmp_path / "latest", tmp_path / "next"
    target.write_bytes(b"old")
    link.symlink_to(Path("there", "model"))
    dangling.symlink_to(Path("there", "unborn"))
    for place in (link, dangling):
        write(place)
        assert place.is_symlink()
        assert place.read_bytes() == b"new"
    assert target.read_bytes() == (tmp_path / "there" / "unborn").read_bytes() == b"new"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(ConversionError, match=r"round cannot be written \(Too many levels"):
        write(tmp_path / "round")
    assert hidden(tmp_path) == hidden(tmp_path / "there") == []


@posix
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, kind in (
            ("pipe", "a pipe"),
            ("folder", "a folder"),
            ("null", "a device"),
            ("socket", "a socket"),
        ):
            before = os.stat(tmp_path / name)
            with pytest.raises(ConversionError, match=f"{name} cannot be written: it is {kind}"):
                write(tmp_path / name)
            assert os.path.samestat(before, os.stat(tmp_path / name))


@posix
@given(
    st.sampled_from([0o600, 0o640, 0o664, 0o444, 0o755, 0o2755, 0o4711, 0o1644, 0o000]),
    st.sampled_from([0o077, 0o022, 0o000]),
)
def test_rights_are_those_of_the_old_file_or_of_any_new_one(tmp_path_factory, mode, mask):
    folder = tmp_path_factory.mktemp("rights")
    before = os.umask(mask)
    try:
        write(folder / "new")
        (folder / "old").touch()
        (folder / "old").chmod(mode)
        write(folder / "old")
        assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o666 & ~mask
        assert stat.S_IMODE((folder / "old").stat().st_mode) == mode
        assert os.umask(mask) == mask
    finally:
        os.umask(before)


@posix
def test_the_mask_of_the_process_is_never_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "umask", lambda _: pytest.fail("set the mask that other threads make files with")
    )
    write(tmp_path / "new")
    write(tmp_path / "new")


@root
def test_owner_and_attributes_are_kept(tmp_path):
    target = tmp_path / "theirs"
    target.write_bytes(b"old")
    os.chown(target, 1234, 4321)
    target.chmod(0o4640)
    attributes = hasattr(os, "setxattr")
    if attributes:
        try:
            os.setxattr(target, "user.note", b"x")
        except OSError:
            attributes = False
    write(target)
    found = target.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o4640)
    assert not attributes or os.getxattr(target, "user.note") == b"x"


@posix
def test_another_group_gets_no_more_than_everybody(tmp_path, monkeypatch):
    """Where the group cannot be kept, as when somebody writes into a colleague's file."""
    target = tmp_path / "theirs"
    real = os.fstat
    for mode, expected in (
        (0o640, 0o600),
        (0o664, 0o644),
        (0o2770, 0o700),
        (0o4755, 0o755),
        (0o666, 0o666),
    ):
        target.touch()
        target.chmod(mode)

        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        def strange(descriptor):
            found = list(real(descriptor))
            # Another owner and group than the old file's.
            found[4], found[5] = (
                found[4] + 1,
                found[5] + 1,
            )
            return os.stat_result(found)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fchown", refuse)
            patch.setattr("bridge._src.formats.output.atomic.os.fstat", strange)
            patch.setattr("bridge._src.formats.output.remains._is_at", lambda *_: True)
            write(target)
        assert stat.S_IMODE(target.stat().st_mode) == expected


def test_long_names(tmp_path):
    name = "m" * (os.pathconf(tmp_path, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255)
    write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"new"
    with pytest.raises(ConversionError, match="shorter name"):
        write(tmp_path / (name + "m"))
    with pytest.raises(ConversionError, match="cannot be written"):
        write(tmp_path / "nul\0")


@posix
def test_remains_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path):
    descriptor, left = remains.make_file(tmp_path, 0o600)
    held, folder = remains.make_folder(tmp_path)
    (folder / "inside").touch()
    for name in (".lmjax-mine", "x.part", ".x.part"):
        (tmp_path / name).touch()
    write(tmp_path / "model")
    assert left.exists()
    assert folder.exists()
    os.close(descriptor)  # as the system does for a process that was killed
    os.close(held)
    write(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lmjax-mine",
        ".x.part",
        "model",
        "x.part",
    ]


@posix
def test_without_locks_only_what_is_old_is_removed(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("bridge._src.formats.output.remains.fcntl.flock", unsupported)
    descriptor, left = remains.make_file(tmp_path, 0o600)
    os.close(descriptor)
    write(tmp_path / "model")
    assert left.exists()
    os.utime(left, (1e9, 1e9))
    write(tmp_path / "model")
    assert hidden(tmp_path) == []


def test_many_write_one_file_at_once(tmp_path):
    """Each removes the others' remains, and none of them is one."""
    target, failures = tmp_path / "model", []

    def work(number):
        try:
            for _ in range(20):
                write(target, bytes([number]) * 10_000)
        except ConversionError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(target.read_bytes())) == 1
    assert hidden(tmp_path) == []


def test_same_file(tmp_path):
    target = tmp_path / "a"
    (tmp_path / "unborn").symlink_to("later")
    assert same_file(tmp_path / "unborn", tmp_path / "later")
    assert not same_file(target, tmp_path / "b")
    target.touch()
    os.link(target, tmp_path / "b")
    (tmp_path / "c").symlink_to("b")
    assert same_file(target, tmp_path / "b")
    assert same_file(target, tmp_path / "c")
    assert not same_file(target, tmp_path / "later")


def test_no_output_replaces_a_source_of_another_kind(saved, tmp_path):
    source = saved("mlp")
    before = source.read_bytes()
    weights = tmp_path / "w.weights.h5"
    params = bridge.from_keras(source).params
    bridge.save(params, source, weights)
    (tmp_path / "b.lmjax").symlink_to(source)
    (tmp_path / "l.weights.h5").symlink_to(source)
    for refused in (
        lambda: bridge.pack(source, tmp_path / "b.lmjax"),
        lambda: bridge.save(params, source, tmp_path / "l.weights.h5"),
        lambda: bridge.pack(source, tmp_path / "b.lmjax", weights=weights),
    ):
        with pytest.raises(ConversionError, match="is the same file as"):
            refused()
    bridge.pack(source, tmp_path / "real.lmjax")
    os.link(tmp_path / "real.lmjax", tmp_path / "hard.keras")
    with pytest.raises(ConversionError, match="is the same file as"):
        bridge.unpack(tmp_path / "real.lmjax", source, tmp_path / "hard.keras")
    assert source.read_bytes() == before
    # Of one kind the two may be one file.
    bridge.save(jax.tree.map(lambda leaf: leaf + 1, params), source, weights, weights)
    bridge.unpack(tmp_path / "real.lmjax", source, source)


def test_commands_refuse_outputs_that_are_inputs(saved, tmp_path, capsys):
    source = saved("mlp")
    bundle = tmp_path / "b.lmjax"
    os.link(source, bundle)
    assert main(["pack", str(source), "-o", str(bundle)]) == 2
    assert f"would overwrite the model {source}" in capsys.readouterr().err
    bundle.unlink()
    assert main(["pack", str(source), "-o", str(bundle)]) == 0
    (tmp_path / "link.keras").symlink_to(bundle)
    assert main(["unpack", str(bundle), str(source), "-o", str(tmp_path / "link.keras")]) == 2
    assert f"would overwrite the bundle {bundle}" in capsys.readouterr().err
    (tmp_path / "dangling").symlink_to("nowhere")
    assert main(["export", str(source), "-o", str(tmp_path / "dangling")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_members_that_lead_out_of_an_archive_are_not_passed_on(saved, tmp_path):
    source, target = saved("mlp"), tmp_path / "copy.keras"
    kept = [*zipfile.ZipFile(source).namelist(), "assets/words.txt"]
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("assets/words.txt", "kept")
        for name in ("../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil", "C:evil", link):
            archive.writestr(name, "x")
    bridge.save(bridge.from_keras(source), source, target)
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == kept
