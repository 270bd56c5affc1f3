"""Hooks of mkdocs: pages of the site that docs/ does not hold, and links to files that are not pages."""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
#: page of the site -> file of the project
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
FACE = ["bertpass.load", "bertpass.engines.model.Model", *(f"bertpass.engines.results.{name}" for name in
        ("Prediction", "Ranked", "Entity", "Answer", "SparseVector")), "bertpass.engines.encoders",
        "bertpass.engines.vectors.quantize_embeddings", "bertpass.passes", "bertpass.errors"]


def api() -> str:
    """The page whose contents mkdocstrings takes from the docstrings."""
    return "# API\n\n" + "\n\n".join(f"::: {name}" for name in FACE) + "\n"


def examples() -> str:
    """The programs of examples/, whole."""
    parts = ["# Examples", "Short programs in `examples/`; the tests run them."]
    for file in sorted((ROOT / "examples").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        parts += [f"## {file.stem.replace('_', ' ').capitalize()}", f"`examples/{file.name}`", f"```python\n{text}```"]
    return "\n\n".join(parts) + "\n"


def on_files(files, config):
    made = {name: (ROOT / path).read_text(encoding="utf-8") for name, path in PAGES.items()}
    made |= {"api.md": api(), "examples.md": examples()}
    return Files([*files, *(File.generated(config, name, content=text) for name, text in made.items())])


def on_page_markdown(markdown, page, **_):
    """Links are written for readers of the repository: point them at the site's pages, or leave the words alone where
    the file is no page."""
    source = PAGES.get(page.file.src_uri)
    folder = (ROOT / source).parent if source else (ROOT / "docs" / page.file.src_uri).parent
    here = (ROOT / "docs" / page.file.src_uri).parent

    def changed(match):
        words, address = match["words"], match["address"]
        path, hash_sign, anchor = address.partition("#")
        if not path or "://" in path:
            return match[0]
        target = (folder / path).resolve()
        pages = {(ROOT / file).resolve(): ROOT / "docs" / name for name, file in PAGES.items()}
        target = pages.get(target, target)
        if not target.is_relative_to(ROOT / "docs"):
            return words if not match["picture"] else ""
        return f"{match['picture']}[{words}]({os.path.relpath(target, here)}{hash_sign}{anchor})"

    return re.sub(r"(?P<picture>!?)\[(?P<words>[^\]\[]*)\]\((?P<address>[^)\s]+)\)", changed, markdown)

