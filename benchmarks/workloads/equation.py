"""The size of the network that solves Poisson's equation in ``examples/poisson.py``, and at how
many points.
"""

from __future__ import annotations


def poisson() -> dict[str, int]:
    """The script's own: 337 weights, 512 points inside the square."""
    return {"units": 16, "count": 512}
