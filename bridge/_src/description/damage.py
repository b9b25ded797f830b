"""The one place where whatever a stranger's file or configuration raises becomes a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bridge._src.description.errors import ConversionError

_LONGEST = 300


@contextmanager
def refusing_damage(origin: str) -> Iterator[None]:
    """Turns exceptions inside the block into a :class:`ConversionError` about ``origin``, which
    they are the cause of.

    What reads a configuration relies on what Keras writes; anything may be wrong in one that
    somebody else wrote. Ctrl-C, and that memory is at its end, pass through.
    """
    try:
        yield
    except (ConversionError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:_LONGEST]
        raise ConversionError(
            f"{origin}: the configuration is damaged or not written by Keras "
            f"({type(error).__name__}: {reason}); save the model again"
        ) from error
