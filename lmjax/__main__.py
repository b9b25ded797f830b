"""``python -m lmjax``: the command ``lmjax``."""

import os
import sys

import lmjax.keras  # noqa: F401 - the door to bridge._src where a bridge.py hides it
from bridge._src.command.main import LOG_LEVEL, main

if __name__ == "__main__":
    # JAX came with the package, has set this to 1, and has read by now how much it is to print.
    if os.environ.get(LOG_LEVEL[0]) == "1" and os.name == "posix":
        os.environ.update([LOG_LEVEL])
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    sys.exit(main())
