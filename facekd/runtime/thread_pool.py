"""Distribute work over threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from facekd.runtime.session import threads_available

Item = TypeVar("Item")
Made = TypeVar("Made")


def threaded(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Yield ``function`` of each item, in order, computed on all processors: the libraries that do the work
    (decoders, OpenCV, ONNX Runtime) release the interpreter's lock.

    At most two items per processor are computed ahead, so results do not accumulate, and little work is
    lost if the caller stops early.
    """
    threads = threads_available()
    pool = ThreadPoolExecutor(threads)
    ahead: deque[Future[Made]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
