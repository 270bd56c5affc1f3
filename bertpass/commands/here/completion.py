"""bertpass completion: a script for the shell that completes commands, flags and allowed values."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bertpass.commands.run import guarded
from bertpass.commands.table import FIRST, Group, commands
from bertpass.options import flag, parse, scalar, spelled

SHELLS = ("bash", "zsh", "fish")
EPILOG = """put it into effect with
  bash   eval "$(bertpass completion bash)"       in ~/.bashrc
  zsh    eval "$(bertpass completion zsh)"        in ~/.zshrc, after compinit
  fish   bertpass completion fish > ~/.config/fish/completions/bertpass.fish"""


@dataclass
class CompletionOptions:
    """Words of bertpass completion."""

    shell: str = flag("", "the shell", positional=True, choices=SHELLS)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the script; returns the exit code."""
    def job() -> None:
        options = parse(CompletionOptions, argv, "Print a script that completes commands, flags and allowed values.",
                        EPILOG)
        print(_fish() if options.shell == "fish" else _bash(options.shell), end="")
    return guarded(job)


@dataclass(frozen=True)
class _Flag:
    spellings: list[str]
    choices: Sequence[str]
    takes_value: bool
    help: str


def _lists() -> Iterator[tuple[str, list[_Flag]]]:
    """Every command, as ``serve`` or ``bench cpu``, with its flags."""
    for name, command in commands():
        cls = command.options_class()
        hints, flags = typing.get_type_hints(cls), []
        for field in dataclasses.fields(cls):
            if not field.metadata["positional"]:
                hydra = getattr(cls, "HYDRA", False)
                flags.append(_Flag([f"{field.name}="] if hydra else spelled(field)[0], field.metadata["choices"] or (),
                                   scalar(hints[field.name]) is not bool, field.metadata["help"]))
        flags += [_Flag([f"--{word}"], (), False, word) for word in ("help", "quiet", "verbose")]
        yield name, flags


def _bash(shell: str) -> str:
    """bash; zsh runs the same through bashcompinit."""
    groups = {name: one.words for name, one in FIRST.items() if isinstance(one, Group)}
    words_of = "\n".join(f'    "{name}") echo "{" ".join(words)}" ;;' for name, words in groups.items())
    flags, values = [], []
    for name, known in _lists():
        words = " ".join(word for one in known for word in one.spellings)
        flags.append(f'    "{name}") echo "{words}" ;;')
        values += [f'    "{name} {word}") echo "{" ".join(one.choices)}" ;;'
                   for one in known if one.choices for word in one.spellings]
    head = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{head}# completion of bertpass; made by: bertpass completion {shell}
_bertpass_flags() {{
  case "$1" in
{chr(10).join(flags)}
  esac
}}
_bertpass_words() {{
  case "$1" in
{words_of}
  esac
}}
_bertpass_values() {{
  case "$1" in
{chr(10).join(values)}
    "completion") echo "{" ".join(SHELLS)}" ;;
  esac
}}
_bertpass() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" name="${{COMP_WORDS[1]}}" found=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{' '.join(FIRST)} help version --help --version" -- "$word"))
    return
  fi
  found="$(_bertpass_words "$name")"
  if [ -n "$found" ]; then
    if [ "$COMP_CWORD" -eq 2 ]; then
      COMPREPLY=($(compgen -W "$found" -- "$word"))
      return
    fi
    name="$name ${{COMP_WORDS[2]}}"; found=""
  fi
  case "$word" in
    -*) found="$(_bertpass_flags "$name")" ;;
    *) found="$(_bertpass_values "$name $before")"; [ -z "$found" ] && found="$(_bertpass_values "$name")" ;;
  esac
  if [ -n "$found" ]; then
    COMPREPLY=($(compgen -W "$found" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _bertpass bertpass
"""


def _fish() -> str:
    lines = ["# completion of bertpass; made by: bertpass completion fish"]
    for name, found in FIRST.items():
        lines.append(f"complete -c bertpass -f -n __fish_use_subcommand -a {name} -d {_quoted(found.what)}")
        words = found.words if isinstance(found, Group) else {}
        lines += [f"complete -c bertpass -f -n '__fish_seen_subcommand_from {name}' -a {word} -d "
                  f"{_quoted(command.what)}" for word, command in words.items()]
    lines.append(f"complete -c bertpass -f -n '__fish_seen_subcommand_from completion' -a '{' '.join(SHELLS)}'")
    for name, known in _lists():
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())
        for one in known:
            for word in one.spellings:
                value = f" -x -a '{' '.join(one.choices)}'" if one.choices else " -r" if one.takes_value else ""
                if word.endswith("="):
                    lines.append(f"complete -c bertpass -n '{seen}' -x -a {word} -d {_quoted(one.help)}")
                    continue
                letter = "-l" if word.startswith("--") else "-s"
                lines.append(f"complete -c bertpass -n '{seen}' {letter} {word.lstrip('-')}{value} "
                             f"-d {_quoted(one.help)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
