"""Ctrl-C and SIGTERM: a run that is asked to stop writes a checkpoint first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import torch

from facekd.errors import Terminated
from facekd.training.distributed import processes


class StopRequest:
    """Whether a signal asked this process to stop, while `stop_between_steps`."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._deferred = False

    def heard(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: raises at once, unless the first signal waits for the end of a step."""
        if self._deferred and self._signal is None:
            self._signal = number
            return
        raise _error(number)

    @contextlib.contextmanager
    def stop_between_steps(self) -> Iterator[None]:
        """In this context a first signal is only recorded; a second one raises at once."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def made(self, device: torch.device) -> bool:
        """Whether any process of the run was asked to stop: all get the same answer."""
        if processes() == 1:
            return self._signal is not None
        asked = torch.tensor(self._signal or 0, device=device)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        self._signal = int(asked) or None
        return self._signal is not None

    def error(self) -> KeyboardInterrupt:
        """The exception that ends a run that was asked to stop."""
        return _error(self._signal or signal.SIGINT)


@contextlib.contextmanager
def stoppable() -> Iterator[StopRequest]:
    """In this context SIGINT raises `KeyboardInterrupt` and SIGTERM `Terminated`, a subclass, so that both
    end the run in the same way. Signals reach only the main thread: in another, nothing changes."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _error(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
