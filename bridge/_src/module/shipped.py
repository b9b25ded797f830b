"""Fills the registry: every module below ``layers`` registers its converters when it is imported,
and so do the operations.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from bridge._src import layers
from bridge._src.operations import operation_layers  # noqa: F401

for _module in pkgutil.walk_packages(layers.__path__, layers.__name__ + "."):
    import_module(_module.name)
