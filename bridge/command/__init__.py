"""The command line: ``lmjax fit``, ``lmjax info``, ``lmjax check``, ``lmjax pack``, ``lmjax unpack``, ``lmjax demo``."""

from bridge.command.main import main

__all__ = ["main"]
