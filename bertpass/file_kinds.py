"""What a file is by its first bytes, for messages: people have pointers, web pages and archives in place of models."""

from __future__ import annotations

import os
from pathlib import Path

_STARTS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"),
    (b"PK\x03\x04", "a zip archive (PyTorch's .bin and .pt files are such archives too)"),
    (b"\x1f\x8b", "compressed with gzip; unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it"),
    (b"BZh", "compressed with bzip2; unpack it"),
    (b"\xfd7zXZ\x00", "compressed with xz; unpack it"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (b"GGUF", "a GGUF file of llama.cpp"),
    (b"\x12\x01\x00\x00\x00\x00\x00\x00", "an MXNet parameter file (.params)"),
    (b"\x80\x02", "a Python pickle"), (b"\x80\x03", "a Python pickle"), (b"\x80\x04", "a Python pickle"),
)
_LOOK = 512
JSON = "it is JSON"


def looks_like(path: str | os.PathLike[str]) -> str:
    """What a file looks like that cannot be read as what it should be: "it is ..." as a clause, empty where unknown."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(_LOOK)
    except OSError:
        return ""
    return kind(start)


def kind(start: bytes) -> str:
    """The same of a file's first bytes, which may have been unpacked; JSON is "it is JSON"."""
    start = start[:_LOOK]
    if not start:
        return "it is empty"
    for begin, what in _STARTS:
        if start.startswith(begin):
            return f"it is {what}"
    if page := of_the_web(start):
        return page
    if _header_of_safetensors(start):
        return "it is a safetensors file"
    if _text(start).startswith(b"{"):
        return JSON
    if not start.strip(b"\x00"):
        return "it begins with zeros, as a file does whose download was stopped"
    return ""


def of_the_web(start: bytes) -> str:
    """A clause on a page of HTML or XML by a file's first bytes; empty where they are neither."""
    text = _text(start[:_LOOK])
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "it is a web page (HTML), perhaps an error or a login page that was saved under this name"
    if text.startswith(b"<?xml"):
        return "it is XML, perhaps an error of the server that it was fetched from"
    return ""


def because(path: str | os.PathLike[str], reason: object) -> str:
    """What the file looks like, else the reason of the library that could not read it."""
    return looks_like(path) or str(reason).rstrip(".")


def no_json(start: bytes, reason: object) -> str:
    """What a file that is no JSON looks like by its first bytes, else the reason of the library."""
    found = kind(start)
    return found if found not in ("", JSON) else str(reason).rstrip(".")


def _text(start: bytes) -> bytes:
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()


def _header_of_safetensors(start: bytes) -> bool:
    return len(start) > 9 and int.from_bytes(start[:8], "little") < 1 << 30 and start[8:9] == b"{"
