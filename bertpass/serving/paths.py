"""The paths that there are: which methods they take, what metrics call them, and other spellings of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bertpass.errors import nearest
from bertpass.serving.failures import UnknownPath, WrongMethod
from bertpass.serving.received.fields import shown

#: what clients of OpenAI's API write that were given an address without its /v1
_WITHOUT_V1 = re.compile(r"/(embeddings|models)(/.*)?")


def canonical(path: str, root: str) -> str:
    """A path without the prefix of a proxy, without slashes at its end, and with the /v1 of OpenAI's."""
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root):]
    path = path.rstrip("/") or "/"
    return "/v1" + path if _WITHOUT_V1.fullmatch(path) else path


class Paths:
    """The paths of an application.

    Parameters
    ----------
    templates
        Path, with {names} for what differs, -> its methods.
    """

    def __init__(self, templates: Mapping[str, Iterable[str]]) -> None:
        self._names = list(templates)
        # longer ones first: the name of a model may have slashes in it
        self._routes = [(re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(path))), path,
                         sorted({method.upper() for method in methods}))
                        for path, methods in sorted(templates.items(), key=lambda item: -len(item[0]))]
        #: those whose names stand for themselves, which most requests ask for
        self._plain: dict[str, tuple[str, list[str]] | None] = {}
        self._plain = {path: self._found(path) for path in templates if "{" not in path}

    def route(self, path: str) -> str:
        """The template that a path belongs to, "other" for none."""
        found = self._found(path)
        return "other" if found is None else found[0]

    def check(self, path: str, method: str) -> None:
        """UnknownPath, or WrongMethod, where no route takes a request."""
        found = self._found(path)
        if found is None:
            raise self.unknown(path)
        if method not in found[1]:
            allowed = ", ".join([*found[1], *(["HEAD"] if "GET" in found[1] else [])])
            raise WrongMethod(f"{shown(path)} takes {allowed}, and no {shown(method)}.", allowed)

    def _found(self, path: str) -> tuple[str, list[str]] | None:
        """The template of a path and its methods."""
        if path in self._plain:
            return self._plain[path]
        return next(((name, methods) for pattern, name, methods in self._routes if pattern.fullmatch(path)), None)

    def unknown(self, path: str) -> UnknownPath:
        """The failure of a path that is not there."""
        hint = nearest(path[:60], self._names, 0.65)
        return UnknownPath(f"there is no path {shown(path)}.{hint} GET /docs shows all.")
