"""``bertpass bench WHAT`` and ``python -m bertpass.bench WHAT``: finds the bench that the word names.

Words such as ``engine=native`` are a sweep of ``cpu`` in Hydra's way; flags without a word are those of ``passes``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bertpass.commands.bench import sweep
from bertpass.commands.run import guarded
from bertpass.commands.table import BENCHES
from bertpass.errors import UsageError, unknown

HELP = """usage: bertpass bench WHAT [flags]; bertpass bench WHAT --help lists the flags

{benches}
  {sweep:<21}a sweep of cpu in Hydra's words, as engine=native batch_size=1,8 --multirun

Flags without WHAT are those of passes: bertpass bench --shapes 1x128.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison that the first word names; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)

    def job() -> int:
        if words and words[0] in ("-h", "--help", "help"):
            if words[1:2] and words[1] in BENCHES:
                return _run(words[1], ["--help"])
            benches = "\n".join(f"  {name:<21}{bench.what}" for name, bench in BENCHES.items())
            print(HELP.format(benches=benches, sweep="NAME=VALUE ..."), end="")
            return 0
        if sweep.is_meant(words):
            return sweep.main(words)
        if not words or words[0].startswith("-"):
            return _run("passes", words)
        return _run(words[0], words[1:])
    return guarded(job)


def _run(name: str, words: Sequence[str]) -> int:
    if name not in BENCHES:
        raise UsageError(unknown("bench", name, BENCHES))
    return BENCHES[name].run(f"bertpass bench {name}", words)
