"""What a large request costs is not waited for by others: it is worked on beside the event loop, one at a time.

A body of 16 MB takes seconds to read as CSV and as many again for its rows in the log. One thread at most competes with the
loop for the interpreter, so that the loop keeps half of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from holdfast.serving.payload import Payload

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BODY = 64 * 1024  # bytes
MANY_VALUES = 5_000


def is_large(payload: Payload) -> bool:
    """Whether writing it would hold up others."""
    return payload.arrays[0].size * len(payload.arrays) > MANY_VALUES


class Aside:
    """Work is done here and now unless it is large; then in a thread, which is started with the first."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="holdfast-large")

    async def __call__(self, is_large: bool, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` returns or raises; what is large has its turn."""
        if not is_large:
            return work(*given, **named)
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*given, **named))

    def close(self) -> None:
        """Start nothing more; does not wait."""
        self._thread.shutdown(wait=False, cancel_futures=True)
