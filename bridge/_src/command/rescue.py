"""A place for what was trained, when its own cannot be written after the training."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bridge._src.conversion.save import save
from bridge._src.description.weights import leaves
from bridge._src.formats.files import WEIGHTS_ONLY
from bridge._src.formats.output.atomic import replacing
from lmjax._src.typing import Params

#: So much of the output's name leads the rescue file's, whose own part has to fit behind it.
_NAME_LENGTH = 100


def rescue(
    params: Params, source: Path, output: Path, weights: Path | None, home: Path
) -> Path | None:
    """Writes what ``save(params, source, output, weights)`` was to write to some other place; None
    where there is none.

    Where the model can no longer be written, its source being gone, the bare weights: an ``.npz``
    file with an array for each.

    Args:
        params: as for :func:`bridge.save`.
        source: as for :func:`bridge.save`.
        output: what could not be written.
        weights: as for :func:`bridge.save`.
        home: the folder of the user's model, where the file would be looked for.
    """
    suffix = WEIGHTS_ONLY if output.name.endswith(WEIGHTS_ONLY) else output.suffix
    name = f"{output.name.removesuffix(suffix)[:_NAME_LENGTH]}-kept-{secrets.token_hex(3)}"
    writers: list[Callable[[Path], Any]] = [
        lambda folder: save(params, source, folder / f"{name}{suffix}", weights),
        lambda folder: _write_arrays(params, folder / f"{name}.npz"),
    ]
    folders = list(dict.fromkeys(_folders(output.parent, home)))
    for write in writers:
        for folder in folders:
            with suppress(Exception):
                return Path(write(folder))
    return None


def _folders(*first: Path) -> Iterator[Path]:
    yield from first
    for place in (Path.cwd, Path.home, tempfile.gettempdir):
        with suppress(OSError, RuntimeError):
            yield Path(place())


def _write_arrays(params: Params, target: Path) -> Path:
    with replacing(target) as file:
        np.savez(file, **{"/".join(path): values for path, values in leaves(params)})
    return target
