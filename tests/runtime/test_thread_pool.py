"""Work in threads: in order, and not far ahead of the consumer."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest

from facekd.runtime import threaded, threads_available


def test_in_order_though_the_first_takes_longest() -> None:
    def made(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(threaded(made, range(40))) == [number * number for number in range(40)]


def test_work_does_not_pile_up() -> None:
    """However slowly the answers are taken, and though only the first three are."""
    begun: list[int] = []
    lock = threading.Lock()

    def made(number: int) -> int:
        with lock:
            begun.append(number)
        return number

    answers = threaded(made, range(1000))
    assert list(islice(answers, 3)) == [0, 1, 2]
    time.sleep(0.05)
    answers.close()
    assert 3 <= len(begun) <= 3 + 2 * threads_available()


def test_an_error_comes_where_its_answer_would() -> None:
    answers = threaded(lambda number: 1 // (2 - number), range(5))
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(answers)
