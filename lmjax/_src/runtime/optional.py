"""Packages that only some users need: the extras of the distribution."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class NotInstalledError(ImportError):
    """A package is missing; the message says for what it is needed, and the extra that has it."""


def needed(module: str, extra: str, purpose: str) -> Any:
    """The package ``module``, imported.

    Args:
        module: its name.
        extra: the extra of lmjax that installs it.
        purpose: what it is needed for, as the subject of a sentence.

    Raises:
        NotInstalledError: it is not there.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:  # it is there, and lacks something itself
            raise
        raise not_installed(module, extra, purpose) from None


def not_installed(module: str, extra: str, purpose: str) -> NotInstalledError:
    """What :func:`needed` raises, with the same arguments."""
    return NotInstalledError(
        f"{purpose} needs {module}, which is not installed: pip install 'lmjax[{extra}]'",
        name=module,
    )
