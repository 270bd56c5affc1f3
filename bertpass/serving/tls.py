"""HTTPS with a certificate and its private key."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from bertpass.errors import UsageError


def context(files: Sequence[str]) -> ssl.SSLContext | None:
    """What a server speaks TLS with, by Python's settings for servers (TLS 1.2 at least); None without files.

    Raises
    ------
    UsageError
        There are more than two files, one cannot be read, or they do not belong together.
    """
    if not files:
        return None
    where = f"--tls {' '.join(files)}"
    if len(files) > 2:
        raise UsageError(f"{where}: name the certificate and its private key, or one file that holds both.")
    for path in files:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise UsageError(f"{where}: {path} cannot be read ({(error.strerror or str(error)).lower()}).") from error
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        found.load_cert_chain(files[0], files[1] if len(files) == 2 else None, _no_password)
    except _Encrypted:
        raise UsageError(f"{where}: the private key has a password; write it without one: openssl pkey -in KEY -out "
                         "NEW.") from None
    except (ssl.SSLError, ValueError) as error:
        said = getattr(error, "reason", None) or str(error)
        why = {"KEY_VALUES_MISMATCH": "the private key is not that of the certificate"}.get(
            said, "they are no PEM files of a certificate and of its private key")
        raise UsageError(f"{where}: {why}.") from error
    return found


class _Encrypted(Exception):
    """The private key has a password."""


def _no_password() -> str:
    raise _Encrypted
