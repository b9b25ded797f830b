"""Files that are written beside their target and renamed, so that no target is ever
half-written.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bridge._src.formats.output.remains import make_file, remove_remains
from bridge._src.formats.output.targets import place_of, unwritable


@contextmanager
def replacing(target: Path) -> Iterator[Any]:
    """A binary file that takes the place of ``target`` when the block ends without an exception.

    Links are followed. Owner, permissions and extended attributes of a file that is replaced pass
    on to the new one, as far as the system allows; further names of it (hard links) keep the old
    content.

    Raises:
        ConversionError: when ``target`` cannot be written, or is no regular file.
    """
    place = place_of(target)
    remove_remains(place.parent)
    try:
        descriptor, beside = make_file(place.parent, _mode(place))
    except OSError as error:
        raise unwritable(target, error) from None
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            _take_after(place, file.fileno())
            if os.name != "nt":  # locked until it has its name
                os.replace(beside, place)
        if os.name == "nt":  # where no open file can be renamed
            os.replace(beside, place)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError):
            raise unwritable(target, error) from None
        raise


def _mode(place: Path) -> int:
    """The permissions to begin with: those of any new file, or private ones where the old file's
    are still to be passed on.
    """
    return 0o600 if place.exists() else 0o666


def _take_after(old: Path, descriptor: int) -> None:
    """Gives an open file the owner, extended attributes and permissions of the file ``old``, if
    there is one.
    """
    if os.name == "nt" or not old.exists():
        return
    was = os.stat(old)
    for owner in ((was.st_uid, was.st_gid), (-1, was.st_gid)):
        with suppress(PermissionError):
            os.fchown(descriptor, *owner)
            break
    now, mode = os.fstat(descriptor), stat.S_IMODE(was.st_mode)
    if now.st_uid != was.st_uid:
        mode &= ~stat.S_ISUID
    same_group = now.st_gid == was.st_gid
    if not same_group:  # another group gets no more than everybody had
        mode &= ~stat.S_ISGID & ~(stat.S_IRWXG & ~((mode & stat.S_IRWXO) << 3))
    _copy_attributes(old, descriptor, with_lists=same_group)
    os.fchmod(descriptor, mode)


def _copy_attributes(old: Path, descriptor: int, with_lists: bool) -> None:
    """Extended attributes, and with ``with_lists`` the lists of who may do what, which are among
    them.
    """
    with suppress(OSError, AttributeError):  # none on this system
        for name in os.listxattr(old):
            if with_lists or not name.startswith("system.posix_acl"):
                with suppress(OSError):
                    os.setxattr(descriptor, name, os.getxattr(old, name))
