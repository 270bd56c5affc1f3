"""The page of ``bench report`` as HTML or Markdown, and what of it can be drawn alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bertpass.bench.pages import svg
from bertpass.bench.pages.charts import DARK, LIGHT, Chart
from bertpass.bench.pages.contents import PRICES, Cell, Section
from bertpass.bench.pages.prices import PriceList
from bertpass.bench.pages.result_files import ResultFile
from bertpass.extras import require


def _plain(cell: Cell) -> str:
    return cell if isinstance(cell, str) else "".join(c if isinstance(c, str) else c.text for c in cell)


def _about(file: ResultFile) -> dict[str, str]:
    """Lines of the last section."""
    about: Mapping[str, Any] = file.environment
    machine = about["machine"]
    lines_ = {"file": file.name, "SHA-256": file.digest, "command": about["command"],
              "revision": about.get("revision") or "unknown", "threads": about.get("threads"), "cpu": machine["cpu"],
              "processors": machine.get("cpus_usable"), "instruction set": about.get("instruction_set"),
              "memory, GiB": machine.get("memory_gib"), "system": machine.get("os"), "python": machine.get("python"),
              "versions": ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())}
    return {key: str(value) for key, value in lines_.items() if value not in (None, "")}


def _sources(files: Sequence[ResultFile], prices: PriceList | None) -> str:
    """The block in the page: which files, and the prices. "<" is escaped, so that no text in it can end the block."""
    content: dict[str, Any] = {"files": {quote(f.name): {"kind": f.kind, "sha256": f.digest} for f in files}}
    if prices is not None:
        content[PRICES] = {name: {"dollars_per_hour": p.dollars_per_hour} for name, p in prices.machines.items()}
    return json.dumps(content, indent=1).replace("<", "\\u003c")


def html(title: str, found: Sequence[Section], files: Sequence[ResultFile], prices: PriceList | None = None) -> str:
    """The page, complete in itself; MissingDependencyError without jinja2."""
    jinja2 = require("jinja2", "bench")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8"))
    return str(template.render(title=title, sections=found, draw=svg.draw, light=LIGHT, dark=DARK,
                               sources=_sources(files, prices), about=[_about(f) for f in files],
                               failures=[line for f in files for line in f.failures]))


def pictures(found: Sequence[Section]) -> list[tuple[Chart, str]]:
    """The page's charts in its order, each with the text that a picture of its own needs."""
    return [(chart, f"{section.note}\n{section.title}") for section in found for chart in section.charts]


def markdown(title: str, found: Sequence[Section], files: Sequence[ResultFile]) -> str:
    """The tables of the page."""
    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    parts = [f"# {title}\n"]
    for section in found:
        for table in section.tables:
            parts.append(f"\n## {section.title}\n\n{section.note}\n\n{row(table.header)}"
                         + row(["---"] + ["---:"] * (len(table.header) - 1))
                         + "".join(row(map(_plain, cells)) for cells in table.rows))
    failures = [line for f in files for line in f.failures]
    if failures:
        parts.append("\n## Failed\n\n" + "".join(f"- {line}\n" for line in failures))
    for file in files:
        parts.append(f"\n## {file.name}\n\n" + "".join(f"- {key}: {value}\n" for key, value in _about(file).items()))
    return "".join(parts)
