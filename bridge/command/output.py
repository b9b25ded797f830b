"""Output files, checked before any work is done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bridge.command.failure import CommandError


def check_writable(path: Path, suffix: str | None = None) -> None:
    """Raises :class:`CommandError` when a file could not be written at ``path``, before hours are spent on its content."""
    if suffix is not None and path.suffix != suffix:
        raise CommandError(f"{path}: the name of this output has to end in {suffix}")
    if path.is_dir():
        raise CommandError(f"{path}: is a folder; give the name of a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise CommandError(f"{path}: exists and is read-only")
    if not path.parent.is_dir():
        raise CommandError(f"{path}: there is no folder {path.parent}; make it first")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise CommandError(f"{path}: cannot be written ({error.strerror})") from None
