"""The keys that clients send: read from a file, compared in constant time, each with a name and perhaps a rate."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bertpass.errors import UsageError

_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


def usable(key: str) -> bool:
    """Whether a header can carry the key: printable ASCII, with no white space at its ends."""
    return bool(key) and key.isascii() and key.isprintable() and key == key.strip()


@dataclass
class Key:
    """A key's name, the digest of its secret, and how many requests per second it may send; None is any number. The
    key of --api_key has no name.

    After a pause a second's worth of requests, or one where the rate is less than 1, may come at once.
    """

    name: str
    digest: bytes = field(repr=False)
    rate: float | None = None
    _left: float = math.inf
    _since: float = 0.0

    def take(self, now: float) -> float:
        """Count a request at a time in seconds; 0, or the seconds after which it would be within the rate."""
        if self.rate is None:
            return 0.0
        most = max(1.0, self.rate)
        self._left = min(most, self._left + (now - self._since) * self.rate)
        self._since = now
        if self._left < 1.0:
            return (1.0 - self._left) / self.rate
        self._left -= 1.0
        return 0.0


class Keys:
    """All keys of a server.

    Parameters
    ----------
    keys
        Their names differ.
    clock
        What gives the time in seconds.
    """

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float] = time.monotonic) -> None:
        self._keys, self.clock = list(keys), clock

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, given: bytes) -> Key | None:
        """The key that a client sent. Every key is compared, whole digests each, so that the time tells nothing of
        them."""
        digest, found = _digest(given), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def of(api_key: str | None, file: str | None) -> Keys:
    """The keys of --api_key and of the file of --api_keys.

    The file has a line per key: NAME:KEY, or NAME:KEY RATE. Empty lines and those that begin with # are passed over.

    Raises
    ------
    UsageError
        The file cannot be read, has no key, or a line is none; the text names the line and never what stands in it.
    """
    found = {} if api_key is None else {"": Key("", _digest(api_key.encode()))}
    if file is None:
        return Keys(list(found.values()))
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--api_keys {file}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.") from error
    before = len(found)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = _parsed(f"--api_keys {file}, line {number}", line.strip())
        if key.name in found:
            raise UsageError(f"--api_keys {file}, line {number}: the name {key.name} is there twice.")
        if any(hmac.compare_digest(key.digest, other.digest) for other in found.values()):
            raise UsageError(f"--api_keys {file}, line {number}: the key is there already; give each name its own.")
        found[key.name] = key
    if len(found) == before:
        raise UsageError(f"--api_keys {file}: there is no key in it; write lines NAME:KEY.")
    return Keys(list(found.values()))


def _parsed(where: str, line: str) -> Key:
    name, colon, rest = line.partition(":")
    words = rest.split()
    if not colon or not _NAME.fullmatch(name.strip()):
        raise UsageError(f"{where}: write NAME:KEY, the name of at most 64 letters, digits, '_', '-' and '.'.")
    if len(words) not in (1, 2):
        raise UsageError(f"{where}: write NAME:KEY, or NAME:KEY RATE; a key has no white space in it.")
    if not usable(words[0]):
        raise UsageError(f"{where}: a key is of printable ASCII characters.")
    rate = None
    if len(words) == 2:
        try:
            rate = float(words[1])
        except ValueError:
            rate = math.nan
        if not 0 < rate < math.inf:
            raise UsageError(f"{where}: the rate is a number of requests per second above 0.")
    return Key(name.strip(), _digest(words[0].encode()), rate)
