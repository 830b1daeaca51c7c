"""`python -m tilewright` is the same as `tilewright`."""

import sys

from tilewright.cli import main


def run() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
