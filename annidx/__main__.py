"""``python -m annidx``."""

import sys

from annidx.cli import main

if __name__ == "__main__":
    sys.exit(main())
