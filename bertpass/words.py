"""The words of a command line: what argparse leaves open, in one parser.

- Words (``MODEL OUTPUT``) may stand anywhere among the flags, and a flag of earlier versions may give one of them.
- A flag may be written with dashes or underscores: ``--allow-pickle`` is ``--allow_pickle``.
- Everything that is missing is named in one sentence.
- The usage line is short: the words and the flags that are needed.
- ``--help`` shows the usual flags, ``--help all`` the rarely needed ones too.
"""

from __future__ import annotations

import argparse
import contextlib
import contextvars
import re
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertpass.errors import UsageError, nearest

_program: contextvars.ContextVar[str | None] = contextvars.ContextVar("program", default=None)


@contextlib.contextmanager
def program(name: str) -> Iterator[None]:
    """Within it, usage lines begin with ``name``, as ``bertpass convert`` (else with the script's name)."""
    token = _program.set(name)
    try:
        yield
    finally:
        _program.reset(token)


@dataclass(frozen=True)
class Word:
    """A word of a command line: the field that it sets, whether it is a list, whether it has to be given."""

    name: str
    several: bool
    required: bool
    kind: Any
    help: str
    metavar: str | None = None

    @property
    def shown(self) -> str:
        """The word in a usage line."""
        name = (self.metavar or self.name.upper()) + (" ..." if self.several else "")
        return name if self.required else f"[{name}]"


def usage(words: Sequence[Word], needed: Mapping[str, Any], cls: type) -> str:
    """The usage line; what follows the flags, as ``-- COMMAND``, is the options' ``USAGE_END``."""
    flags = [f"--{name} {'...' if isinstance(default, list) else 'VALUE'}" for name, default in needed.items()]
    return " ".join(("%(prog)s", *(w.shown for w in words), *flags, "[flags]", getattr(cls, "USAGE_END", ""))).rstrip()


class _Help(argparse.Action):
    """``--help`` and ``--help all``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        assert isinstance(parser, Parser)
        parser._print_message(parser.format_help(everything=values == "all" or option == "--help_all"), sys.stdout)
        parser.exit()


class Parser(argparse.ArgumentParser):
    """See this module; ``needed`` are flags that have to be given, with the value that counts as not given.

    Flags whose names are in ``rare`` are shown by ``--help all`` alone.
    """

    def __init__(self, words: Sequence[Word], needed: Mapping[str, Any], **options: Any) -> None:
        super().__init__(prog=_program.get(), allow_abbrev=False, add_help=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.words, self.needed = words, needed
        self.rare: set[str] = set()

    def add_general(self, taken: Sequence[str]) -> None:
        """The flags of every command, but those whose names are ``taken``."""
        group = self.add_argument_group("general")
        group.add_argument("-h", "--help", action=_Help, nargs="?", default=argparse.SUPPRESS, metavar="all",
                           help="show this help; with the word all, also the flags that are rarely needed")
        group.add_argument("--help_all", action=_Help, nargs=0, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        for letter, name, text in (("-q", "quiet", "only warnings and errors; no progress"),
                                   ("-v", "verbose", "more messages, and the traceback of an error")):
            if name not in taken:
                group.add_argument(letter, f"--{name}", action="store_true", help=text)

    def format_help(self, everything: bool = False) -> str:
        """argparse's text with the words before the flags; the rarely needed flags only in ``everything``."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        formatter.start_section("words")
        formatter.add_arguments([argparse.Action([], w.name, metavar=w.metavar or w.name.upper(), help=w.help)
                                 for w in self.words])
        formatter.end_section()
        for group in self._action_groups:
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments([action for action in group._group_actions
                                     if everything or action.dest not in self.rare])
            formatter.end_section()
        if self.rare and not everything:
            formatter.add_text(f"{len(self.rare)} more flags are rarely needed: {self.prog} --help all shows them.")
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, with every flag in the spelling that it was made with."""
        return super().parse_known_args(self._plain(sys.argv[1:] if args is None else args), namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; UsageError for what is unknown, and for all that is missing."""
        argv = list(sys.argv[1:] if args is None else args)
        end = argv.index("--") if "--" in argv else len(argv)
        found, rest = self.parse_known_args(argv[:end], namespace)
        unknown = [word for word in rest if word.startswith("-") and len(word) > 1]
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        self._give(found, [word for word in rest if word not in unknown] + argv[end + 1:])
        return found

    def _give(self, found: argparse.Namespace, given: Sequence[str]) -> None:
        """Set the fields that are words."""
        open_words = [w for w in self.words if w.several or not hasattr(found, w.name)]
        left, missing = list(given), []
        for at, word in enumerate(open_words):
            if word.several:
                after = sum(not later.several for later in open_words[at + 1:])
                taken, left = left[:len(left) - after], left[len(left) - after:]
                if taken or not hasattr(found, word.name):
                    setattr(found, word.name, [self._of(word, text) for text in taken])
                if word.required and not getattr(found, word.name):
                    missing.append(word.metavar or word.name.upper())
            elif left:
                setattr(found, word.name, self._of(word, left.pop(0)))
            elif word.required:
                missing.append(word.metavar or word.name.upper())
        missing += [f"--{name}" for name, default in self.needed.items() if getattr(found, name) == default]
        if missing:
            named = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
            line = self.format_usage().removeprefix("usage: ").strip()
            raise UsageError(f"{named} {'is' if len(missing) == 1 else 'are'} needed: {' '.join(line.split())}.")
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")

    def _of(self, word: Word, text: str) -> Any:
        try:
            return word.kind(text)
        except ValueError:
            raise UsageError(f"{word.name.upper()} {text}: must be a number.") from None

    def _plain(self, argv: Sequence[str]) -> list[str]:
        known = {_folded(name): name for name in self._option_string_actions}
        plain = []
        for word in argv:
            name, equals, value = word.partition("=")
            if name.startswith("--") and name not in self._option_string_actions:
                name = known.get(_folded(name), name)
            plain.append(name + equals + value)
        return plain

    def error(self, message: str) -> typing.NoReturn:
        """Raise what argparse would print, in plainer words."""
        for pattern, sentence in _PLAINER:
            message = re.sub(pattern, sentence, message)
        known = {_folded(name): name for action in self._actions for name in action.option_strings}
        hint = ""
        if message.startswith("unrecognized arguments: -"):
            word = _folded(message.split(": ", 1)[1].split()[0].split("=")[0])
            hint = nearest(word, [name for name in known if name.startswith("--") == word.startswith("--")], 0.65)
        raise UsageError(f"{message}.{hint} --help lists the flags.")


#: how argparse says it, and how we do
_PLAINER = (
    (r"^argument (?:-\w(?: \S+)?[/,] ?)?(--\w+)(?:/--\w+)*(?: \S+)?: expected (?:one|at least one) argument$",
     r"\1: a value has to follow this flag"),
    (r"^argument (?:--\w+/)*(--\w+)(?:/--\w+)*: invalid int value: '(.*)'$", r"\1 \2: must be a whole number"),
    (r"^argument (?:--\w+/)*(--\w+)(?:/--\w+)*: invalid float value: '(.*)'$", r"\1 \2: must be a number"),
    (r"^argument (--\w+)(?:/--\w+)*: ignored explicit argument '(.*)'$", r"\1=\2: this flag takes no value"),
)


def _folded(name: str) -> str:
    return "--" + name[2:].replace("-", "_") if name.startswith("--") else name
