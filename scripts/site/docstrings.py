"""Docstrings as mkdocstrings reads them: ours say `name : meaning`, where its reader expects a type, and have several
names before one meaning, which it would give one type."""

import re

import griffe

PARAMETER = re.compile(r"^(\w+(?:, \w+)*) : (.*)$", re.M)
NAMES = re.compile(r"^(\w+), (\w+(?:, \w+)*)((?:\n    .*)*)", re.M)
ROLE = re.compile(r":\w+:(?=`)")
SECTION = re.compile(r"^(Parameters|Attributes|Returns|Yields|Raises)\n-+\n", re.M)


def with_meanings(text: str) -> str:
    """Every parameter's meaning on lines of its own, in the sections that have parameters; words in brackets, such as
    [SEP], are no links."""
    pieces = SECTION.split(text)
    found = pieces[0]
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if name in ("Parameters", "Attributes"):
            body = PARAMETER.sub(lambda match: f"{match[1]}\n    {match[2]}", body)
            body = NAMES.sub(lambda match: "\n".join([match[1] + match[3], *(
                f"{other}\n    see `{match[1]}`" for other in match[2].split(", "))]), body)
        found += f"{name}\n{'-' * len(name)}\n{body}"
    return re.sub(r"(?<![`\w])(\[[A-Z]+\])", r"`\1`", ROLE.sub("", found))


class Meanings(griffe.Extension):
    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = with_meanings(obj.docstring.value)
