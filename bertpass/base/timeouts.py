"""Time limits of asyncio: Python has them from 3.11 on, and the package async-timeout has them for 3.10.

What ends at its limit raises :class:`asyncio.TimeoutError`, which is no TimeoutError in Python 3.10.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout, timeout_at
else:
    from async_timeout import timeout, timeout_at

__all__ = ["timeout", "timeout_at"]
