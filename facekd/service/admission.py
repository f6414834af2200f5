"""How many requests are taken at once: a few are worked on, a few wait, the rest are told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from facekd.service.failures import Refused

_Answer = TypeVar("_Answer")


class Admission:
    """``workers`` threads, and places for ``queue`` requests more. A place is taken before the body is
    read, so that bodies in memory are bounded too. Used from one event loop."""

    def __init__(self, workers: int, queue: int) -> None:
        self.places = workers + queue
        self.taken = 0
        #: requests that were accepted and given up at the end
        self.cut_short = 0
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="facekd")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request. Raises `Refused` where all are taken."""
        if self.taken >= self.places:
            raise Refused(
                429, "busy", f"{self.taken} requests are being worked on or wait", "Try again in a moment."
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
        """What ``work`` gives, in one of the threads. Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Wait for what is being worked on."""
        self._threads.shutdown(wait=True, cancel_futures=True)
