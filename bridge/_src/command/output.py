"""Output files, checked before any work is done."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from bridge._src.command.failure import CommandError
from bridge._src.description.visible import visible
from bridge._src.formats.output.remains import make_file, remove_remains
from bridge._src.formats.output.targets import place_of, same_file


@contextmanager
def unhindered() -> Iterator[None]:
    """Within the block nothing stops because nobody takes what it prints (``| head``, a full disk);
    the rest is dropped.
    """
    from lmjax._src.training.following.progress import Forgiving

    streams = sys.stdout, sys.stderr
    outputs = tuple(map(Forgiving, streams))
    sys.stdout, sys.stderr = outputs
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for stream, output in zip(streams, outputs, strict=True):
            output.flush()
            if output.error is not None:
                _drop_the_rest(stream)


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Sends what TensorFlow's C++ code writes to standard error, and no environment variable
    silences, to nowhere.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError):  # nobody would read it
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _drop_the_rest(stream: TextIO) -> None:
    """Sends what a broken stream still holds nowhere, so that Python does not complain of it at its
    end.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def check_writable(path: Path, suffix: str | None = None) -> None:
    """Raises an error of one line when a file could not be written at ``path``, before hours are
    spent on its content.
    """
    if suffix is not None and path.suffix != suffix:
        raise CommandError(f"{path}: the name of this output has to end in {suffix}")
    place = place_of(path)
    if place.exists() and not os.access(place, os.W_OK):
        raise CommandError(f"{path}: exists and is read-only")
    if not place.parent.is_dir():
        raise CommandError(f"{path}: there is no folder {place.parent}; make it first")
    remove_remains(place.parent)
    try:
        descriptor, beside = make_file(place.parent, 0o600)
        os.close(descriptor)
        beside.unlink()
    except OSError as error:
        raise CommandError(f"{path}: cannot be written ({error.strerror})") from None


def check_apart(path: Path, needed: Mapping[str, Path | None]) -> None:
    """Raises :class:`CommandError` when ``path`` is the same file, be it through links, as one of
    those that are ``needed``.

    Args:
        path: an output.
        needed: files by what they are; a folder of data stands for the arrays in it.
    """
    for name, other in needed.items():
        if other is None:
            continue
        for file in (other / "x.npy", other / "y.npy") if other.is_dir() else (other,):
            if same_file(path, file):
                raise CommandError(f"{path}: would overwrite {name} {file}; give another name")


def check_said() -> None:
    """Raises :class:`CommandError` when what a command only prints was lost; a reader who has left
    (``| head``) has seen enough.
    """
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        raise CommandError(
            f"standard output cannot be written ({error.strerror}), so that the report is "
            "not complete"
        )


def say(*lines: object) -> None:
    """Prints what a command has to say; names in it come from strangers, and a terminal would obey
    some of their characters.
    """
    for line in lines:
        print(visible(str(line)))


def note(command: str, message: str) -> None:
    """Prints a message that is no result: to standard error, where it spoils no output."""
    print(f"lmjax {command}: {visible(message)}", file=sys.stderr)
