"""How many requests are accepted at a time: a few are processed, a few wait, the rest are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from facekd.service.failures import Refused

_Answer = TypeVar("_Answer")


class Admission:
    """``workers`` threads, and places for ``queue`` waiting requests. A place is taken before the body is
    read, which bounds the bodies in memory too. Used from one event loop."""

    def __init__(self, workers: int, queue: int) -> None:
        self.places = workers + queue
        self.taken = 0
        #: requests that were accepted and cancelled at shutdown
        self.cut_short = 0
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="facekd")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for one request. Raises `Refused` if all are taken."""
        if self.taken >= self.places:
            raise Refused(
                429, "busy", f"{self.taken} requests are in progress or waiting", "Try again in a moment."
            )
        self.taken += 1
        try:
            yield
        except asyncio.CancelledError:
            self.cut_short += 1
            raise
        finally:
            self.taken -= 1

    async def run(self, work: Callable[..., _Answer], *arguments: object) -> _Answer:
        """Run ``work`` in one of the threads; returns what it returns and raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Wait for the requests in progress."""
        self._threads.shutdown(wait=True, cancel_futures=True)
