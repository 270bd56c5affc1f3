"""Edits of a model's JSON files."""

import json


def change(name, **fields):
    """A function that sets fields of the file of this name in a folder, of its last object where it holds a list."""
    def apply(folder):
        content = json.loads((folder / name).read_text())
        (content[-1] if isinstance(content, list) else content).update(fields)
        (folder / name).write_text(json.dumps(content))
    return apply
