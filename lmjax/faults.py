"""Versions of JAX that compute wrong values on processors: the one table, which the requirements in ``pyproject.toml`` repeat.

Read and not listed, since no value is told to be wrong on a processor: jax-ml/jax#36958 (scan of vmap on GPUs, gone in 0.11.1), #38806
(0.10.2 and 0.11.0, slow scatters on GPUs), #39257 (0.10.2 and 0.11.0 crash or hang in sums over arrays of seven or eight axes), #39264
(0.10.0 and 0.10.1 end the process in an attention model). Seen and not listed, since a version without was
not found: with 0.9.2 and 0.10.1 ``jax.jacrev`` of a stack of recurrent layers was wrong on a processor of ours, unless XLA's fusion
emitters are off (``--xla_cpu_use_fusion_emitters=false``), as they are in our own programs of :data:`~lmjax.compilation.Effort` QUICK.
``lmjax check`` tries on the machine at hand what fits rest on; it does not find that one.
"""

from __future__ import annotations

import jax
import jaxlib.version

from lmjax.complaints import warn

#: What is wrong in which version of jaxlib, and where that is told.
WRONG: dict[str, str] = {
    "0.10.2": (
        "sums over the products of a matrix with each of more than 16 384 rows (jax-ml/jax#39103), jnp.arctan of 50 and more numbers "
        "(jax-ml/jax#39352)"
    ),
}

#: The version of jaxlib, which holds the compiler.
INSTALLED: str = jaxlib.version.__version__

_told = False


def warn_once() -> None:
    """Warns, at the first call in a process, where the version that is installed is known to compute wrong values here."""
    global _told
    if _told:
        return
    _told = True
    wrong = WRONG.get(INSTALLED)
    if wrong is not None and jax.default_backend() == "cpu":
        warn(
            f"jaxlib {INSTALLED} computes wrong values on processors: {wrong}. lmjax' requirements exclude it; install another "
            "version (pip install --upgrade lmjax), and see what is right on this machine with `lmjax check`"
        )
