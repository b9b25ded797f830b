"""Keras models as pure Flax functions, and back: the same objects as in ``bridge``, under a name
that no other module bears.

A file ``bridge.py`` beside a script hides the package ``bridge`` from it; this door works there,
too.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

from lmjax import __version__ as __version__

if "bridge._src" not in sys.modules:
    # Python imports a module of a package through its parent alone. With bridge._src in place,
    # whose modules name one another from there on, nothing asks for a module called bridge, which
    # may be another's.
    _folder = Path(__file__).parents[2] / "bridge" / "_src"
    _spec = spec_from_file_location(
        "bridge._src", _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["bridge._src"] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["bridge._src"])

from bridge._src.public import *  # noqa: F403 - it has the one list of what there is
from bridge._src.public import __all__ as _offered
from lmjax.keras import layers as layers

if TYPE_CHECKING:
    __all__: list[str]
else:
    __all__ = [*_offered, "layers"]


def __dir__() -> list[str]:
    return sorted(["__doc__", "__version__", *__all__])
