"""Pages for people: one of each entry, and the index of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertpass.bench.quiet import MOST_LOAD
from bertpass.bench.reproduce import grid, session
from bertpass.bench.reproduce.session import Entry
from bertpass.bench.reproduce.tables import Table, shown

PACKAGES = ("mxnet", "gluonnlp", "numpy", "onnxruntime", "openvino", "torch", "apache-tvm")


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def markdown(table: Table) -> str:
    """Headings, rows and the note; columns of numbers stand to the right."""
    keys = list(table.columns)
    numbers = {key for key in keys if any(isinstance(r.get(key), (int, float)) for r in table.rows)}
    lines = [f"## {table.title}", "", row(list(table.columns.values())),
             row(["---:" if key in numbers else "---" for key in keys])]
    lines += [row([shown(r.get(key), table.decimals) for key in keys]) for r in table.rows]
    return "\n".join([*lines, "", *([table.note, ""] if table.note else [])])


def page(entry: Entry, source: Mapping[str, str], content: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """The page of one entry, from its result file's content."""
    lines = [f"# {entry.title}", "",
             f"Published: {source['publisher']}, “{source['title']}” ({source['conditions']}).", "",
             _conditions(content), ""]
    missing = entry.missing()
    if missing:
        lines += ["Not run here: " + "; ".join(missing) + ".", ""]
    lines += [f"![{entry.title}]({entry.name}.png)", ""]
    lines += [markdown(table) for table in tables]
    failures = grid.failures(content["measured"])
    if failures:
        lines += ["Engines that did not run:", "", *(f"- {sentence}" for sentence in failures), ""]
    lines += ["“published” is the source's figure on the source's machine, “here” this machine's; a ratio says which "
              f"it is over which. All figures with their spread: [{entry.name}.json]({entry.name}.json).", ""]
    return "\n".join(lines)


def subtitle(content: Mapping[str, Any]) -> str:
    """Where and when, for a picture."""
    about = content["environment"]
    quick = "; A QUICK RUN ON FEW LAYERS, NO RESULT" if content["settings"]["quick"] else ""
    return f"here: {about['machine']['cpu']}, {about['threads']} threads, {content['date']}{quick}"


def _conditions(content: Mapping[str, Any]) -> str:
    about = content["environment"]
    here, versions = about["machine"], about["versions"]
    words = [f"{name} {versions[name]}" for name in PACKAGES if name in versions]
    state = "" if content["complete"] else " **Not complete: it was stopped, or is still running.**"
    if content["settings"]["quick"]:
        state += " **A quick run on a model of few layers: it shows that the entry works, its figures are no results.**"
    noise = ""
    if content["others_load"] > MOST_LOAD:
        noise = (f" Other processes kept {content['others_load']:.1f} processors busy meanwhile: repeat it on a quiet "
                 "machine.")
    return (f"Measured {content['date']} on {here['cpu']} ({here['cpus_usable']} processors, "
            f"{', '.join(here['instruction_sets']) or 'no AVX2'}, {here['memory_gib']:.0f} GiB), {about['threads']} "
            f"threads; {', '.join(words)}; revision {(about['revision'] or 'unknown')[:12]}; by `{about['command']}`."
            f"{state}{noise}")


def index(entries: Sequence[Entry], folder: Path) -> str:
    """Which entries have results in the folder."""
    lines = ["# Published tables beside this machine", "",
             "Made by `bertpass reproduce`; `bertpass reproduce --list` says what each needs.", "",
             row(["entry", "what it shows", "measured", "on"]), row(["---"] * 4)]
    for entry in entries:
        file = folder / f"{entry.name}.json"
        if not file.is_file():
            lines.append(row([entry.name, entry.title, "not yet", ""]))
            continue
        content = session.read(file)
        state = content["date"] + ("" if content["complete"] else ", not complete")
        lines.append(row([f"[{entry.name}]({entry.name}.md)", entry.title,
                          state + (", quick" if content["settings"]["quick"] else ""),
                          content["environment"]["machine"]["cpu"]]))
    return "\n".join([*lines, ""])
