"""Where an output goes: through links to a regular file, and never onto a file that is needed."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path

from bridge._src.description.errors import ConversionError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
#: Where Linux lists the files that a process has open, and has them opened by their numbers.
_DESCRIPTORS = re.compile(r"/proc/[^/]+/(task/[^/]+/)?fd")


def place_of(target: Path) -> Path:
    """The path of the file that ``target`` names, or that is to be made, links followed to their
    end.

    Raises:
        ConversionError: there is something else than a regular file, or one that is open already
            because the program's own output goes there, or no file can have such a name.
    """
    try:
        place = Path(os.path.realpath(target))
        status = os.stat(place)
        kind = stat.S_IFMT(status.st_mode)
    except FileNotFoundError:
        return place
    except (
        OSError,
        ValueError,
    ) as error:
        # Too long a name, links in a circle, a character that no name may have.
        raise unwritable(target, error) from None
    if kind != stat.S_IFREG:
        raise ConversionError(
            f"{target} cannot be written: it is {_KINDS.get(kind, 'no regular file')}; "
            "give the name of a file"
        )
    if _is_taken(target, status):
        raise ConversionError(
            f"{target} cannot be written: what the program prints goes there, and would "
            "be lost; give the name of a file"
        )
    return place


def _is_taken(target: Path, status: os.stat_result) -> bool:
    """Whether a file is the one that standard output or error was redirected to, or is named by the
    number under which it is open.
    """
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        with suppress(OSError, ValueError):  # closed
            if os.path.samestat(os.fstat(stream.fileno()), status):
                return True
    return _DESCRIPTORS.fullmatch(os.path.realpath(target.parent)) is not None


def unwritable(target: Path, error: Exception) -> ConversionError:
    """What the system's ``error`` means for whoever wanted ``target`` written."""
    reason = getattr(error, "strerror", None) or str(error)
    advice = "give a path in an existing folder that you may write to"
    if getattr(error, "errno", None) in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        advice = "make room, or give a path on another disk"
    elif getattr(error, "errno", None) == errno.ENAMETOOLONG:
        advice = "give a shorter name"
    return ConversionError(f"{target} cannot be written ({reason}); {advice}")


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths name one file, or would if it were made; links of both kinds count."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there
        return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def refuse_other_kinds(target: Path, *sources: str | os.PathLike[str] | None) -> None:
    """Raises :class:`ConversionError` where a link makes ``target`` the same file as a source of
    another kind, which it would replace.
    """
    for source in sources:
        if source is not None and _kind(target) != _kind(source) and same_file(target, source):
            raise ConversionError(
                f"target {target} is the same file as {source}, which it would replace; "
                "give another name"
            )


def _kind(path: str | os.PathLike[str]) -> list[str]:
    return [
        suffix
        for suffix in Path(path).suffixes
        if suffix in (".weights", ".h5", ".hdf5", ".keras", ".lmjax")
    ][-2:]
