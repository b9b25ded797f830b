"""``python -m lmjax``: the command ``lmjax``."""

import sys

from bridge._src.command.main import main

if __name__ == "__main__":
    sys.exit(main())
