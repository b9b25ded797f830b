"""Versions of JAX that compute wrong values on processors: the one table, which the requirements in
``pyproject.toml`` repeat.

Read and not listed, since no value is told to be wrong on a processor: jax-ml/jax#36958 (scan of
vmap on GPUs, gone in 0.11.1), #38806 (0.10.2 and 0.11.0, slow scatters on GPUs), #39257 (0.10.2 and
0.11.0 crash or hang in sums over arrays of seven or eight axes), #39264 (0.10.0 and 0.10.1 end the
process in an attention model).
"""

from __future__ import annotations

import jax
import jaxlib.version

from lmjax._src.runtime.user_warnings import warn

#: What is wrong in which version of jaxlib, and where that is told.
WRONG: dict[str, str] = {
    "0.10.2": (
        "sums over the products of a matrix with each of more than 16 384 rows "
        "(jax-ml/jax#39103), jnp.arctan of 50 and more numbers (jax-ml/jax#39352)"
    ),
}

#: Wrong in versions that are not excluded, since converted models and our own programs go round it,
#: and Python 3.11 has no right one: joining sums and products along a last axis of 5 or 7 numbers,
#: where the axis before has 4, in float64; also as the derivative of ``jnp.split``. The optimised
#: LLVM IR of XLA's fusion emitters is right, what becomes of it is not. Seen here with 0.8.0,
#: 0.9.0, 0.9.2, 0.10.0, 0.10.1, 0.10.2 and 0.11.0 (there in the derivative alone), not with 0.11.1,
#: 0.11.2 and 0.12.0.1.
WORKED_AROUND: str = "concatenations"

#: The first version that was seen without it. It no longer knows the option
#: xla_cpu_use_fusion_emitters, with which those before are right, and XLA ends the process at an
#: option in XLA_FLAGS that it does not know.
RIGHT_AGAIN: tuple[int, ...] = (0, 11, 1)

#: The version of jaxlib, which holds the compiler.
INSTALLED: str = jaxlib.version.__version__

_told = False


def concatenates_wrongly() -> bool:
    """Whether the version that is installed is one of those of :data:`WORKED_AROUND`."""
    return jaxlib.version.__version_info__ < RIGHT_AGAIN


def warn_once() -> None:
    """Warns, at the first call in a process, where the version that is installed is known to
    compute wrong values here.
    """
    global _told
    if _told:
        return
    _told = True
    wrong = WRONG.get(INSTALLED)
    if wrong is not None and jax.default_backend() == "cpu":
        warn(
            f"jaxlib {INSTALLED} computes wrong values on processors: {wrong}. lmjax' "
            "requirements exclude it; install another version (pip install --upgrade lmjax), "
            "and see what is right on this machine with `lmjax check`"
        )
