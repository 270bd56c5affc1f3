"""The page at / for people: its files come along, and it asks for nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

from bertpass.base.paths import PACKAGE

#: path -> its file and type; they need no key, because the page asks for it
FILES = {"/": ("index.html", "text/html"), "/page/style.css": ("style.css", "text/css"),
         "/page/app.js": ("app.js", "text/javascript"), "/page/live.js": ("live.js", "text/javascript")}
_FOLDER = PACKAGE / "serving" / "static"
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                               "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-cache"}


def router() -> APIRouter:
    """One route for each of :data:`FILES`; the OpenAPI description leaves them out."""
    routes = APIRouter()

    def add(path: str, file: Path, kind: str) -> None:
        content = file.read_bytes()

        @routes.get(path, include_in_schema=False)
        async def page() -> Response:
            return Response(content, headers=_HEADERS, media_type=f"{kind}; charset=utf-8")

    for path, (name, kind) in FILES.items():
        add(path, _FOLDER / name, kind)
    return routes
