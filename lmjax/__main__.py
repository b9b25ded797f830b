"""``python -m lmjax``: the command ``lmjax``."""

import sys

import lmjax.keras  # noqa: F401 - the door to bridge._src where a bridge.py hides it
from bridge._src.command.main import main

if __name__ == "__main__":
    sys.exit(main())
