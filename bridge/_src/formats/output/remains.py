"""Temporary files and folders beside an output, and what is left of them where their maker was
killed.

Each is locked for as long as its maker has it open, and the system drops the lock of a process that
dies. So whoever writes into a folder next knows by the name what was left there, and by the lock
whether somebody still writes it.
"""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

fcntl: Any = None if os.name == "nt" else importlib.import_module("fcntl")

#: Short, whatever the output is called, so that it fits where the output's own name fills all that
#: a file system allows.
_PREFIX, _SUFFIX = ".lmjax-", ".part"

#: Where files cannot be locked, what was not touched for a day belongs to nobody: to write a model
#: takes minutes.
_ABANDONED_SECONDS = 24 * 3600.0


def make_file(folder: Path, mode: int) -> tuple[int, Path]:
    """A new file in ``folder``, open for reading and writing: its descriptor, which holds the lock,
    and its path.

    ``mode`` are its permissions, of which the process's mask takes some away.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return _made(folder, lambda path: os.open(path, flags, mode))


def make_folder(folder: Path) -> tuple[int | None, Path]:
    """A new private folder in ``folder``: a descriptor that holds the lock (None on Windows), and
    its path.
    """
    if fcntl is None:
        path = _unused(folder)
        path.mkdir(mode=0o700)
        return None, path

    def make(path: Path) -> int:
        path.mkdir(mode=0o700)
        return os.open(path, os.O_RDONLY)

    return _made(folder, make)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A private folder in ``parent`` for the length of the block."""
    remove_remains(parent)
    held, folder = make_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def remove_remains(folder: Path) -> None:
    """Removes what writers that were killed have left in ``folder``; nothing of those that are
    still at work.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):  # somebody else's, or gone already
                    _remove_if_abandoned(Path(entry.path))


def _unused(folder: Path) -> Path:
    return folder / f"{_PREFIX}{secrets.token_hex(6)}{_SUFFIX}"


def _made(folder: Path, make: Callable[[Path], int]) -> tuple[int, Path]:
    while True:
        path = _unused(folder)
        with suppress(FileExistsError):
            descriptor = make(path)
            if _lock(descriptor, wait=True) is False or _is_at(descriptor, path):
                return descriptor, path
            os.close(descriptor)  # another writer took it for a remain before it was locked


def _lock(descriptor: int, wait: bool) -> bool:
    """Locks a file; False where that cannot be done.

    Raises:
        BlockingIOError: another process holds the lock, and it is not to be waited for.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _remove_if_abandoned(path: Path) -> None:
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        # Network file systems lock only what is open for writing.
        descriptor = os.open(path, os.O_RDWR | careful)
    except IsADirectoryError:
        descriptor = os.open(path, os.O_RDONLY | careful)
    try:
        status = os.fstat(descriptor)
        if not _lock(descriptor, wait=False) and time.time() - status.st_mtime < _ABANDONED_SECONDS:
            return
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path)
        elif fcntl is not None:
            path.unlink()
    finally:
        os.close(descriptor)
    if fcntl is None:  # Windows removes no open file, not even our own
        path.unlink(missing_ok=True)
