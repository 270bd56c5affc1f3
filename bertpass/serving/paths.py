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

    def route(self, path: str) -> str:
        """The template that a path belongs to, "other" for none."""
        return next((name for pattern, name, _ in self._routes if pattern.fullmatch(path)), "other")

    def check(self, path: str, method: str) -> None:
        """UnknownPath, or WrongMethod, where no route takes a request."""
        for pattern, _, methods in self._routes:
            if pattern.fullmatch(path):
                if method in methods:
                    return
                allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
                raise WrongMethod(f"{shown(path)} takes {allowed}, and no {shown(method)}.", allowed)
        raise self.unknown(path)

    def unknown(self, path: str) -> UnknownPath:
        """The failure of a path that is not there."""
        hint = nearest(path[:60], self._names, 0.65)
        return UnknownPath(f"there is no path {shown(path)}.{hint} GET /docs shows all.")
