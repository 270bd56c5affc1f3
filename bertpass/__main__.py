"""``python -m bertpass``: the command ``bertpass``, where its folder is not on the path."""

import sys

from bertpass.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
