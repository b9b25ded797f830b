"""Compiled programs kept between runs of the command, in the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

#: "off" (or 0) in this environment variable keeps nothing; JAX's own JAX_COMPILATION_CACHE_DIR
#: takes another folder.
VARIABLE = "LMJAX_COMPILATION_CACHE"


def switch_on() -> None:
    """Switches JAX's persistent compilation cache on, for this process; to be called by a process
    of our own only.

    Importing lmjax never does so: JAX's configuration belongs to the program that imports it. All
    programs are kept, for the small ones of a fit take most of the start. JAX writes and reads the
    files; it only warns if it cannot.
    """
    if os.environ.get(VARIABLE, "").lower() in ("off", "0", "no", "false") or os.environ.get(
        "JAX_COMPILATION_CACHE_DIR"
    ):
        return
    import jax

    root = (
        os.environ.get("XDG_CACHE_HOME")
        or os.environ.get("LOCALAPPDATA")
        or Path(os.path.expanduser("~"), ".cache")
    )
    if str(root).startswith("~"):  # nobody's home
        return
    jax.config.update("jax_compilation_cache_dir", str(Path(root, "lmjax", "compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
