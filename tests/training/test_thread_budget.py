"""Who gets the processors."""

from __future__ import annotations

import pytest

from facekd.training import share_processors


@pytest.mark.parametrize(
    ("processors", "threads", "workers", "expected"),
    [
        (1, None, None, (1, 0)),
        (2, None, None, (2, 0)),
        (3, None, None, (3, 0)),
        (4, None, None, (3, 1)),
        (16, None, None, (12, 4)),
        (64, None, None, (56, 8)),
        (4, 1, None, (1, 3)),
        (2, 4, None, (4, 0)),
        (2, None, 1, (2, 1)),
        (4, None, 8, (1, 8)),
        (4, 3, 0, (3, 0)),
    ],
)
def test_a_cpu_is_shared(
    processors: int, threads: int | None, workers: int | None, expected: tuple[int, int]
) -> None:
    assert share_processors("cpu", processors, threads, workers) == expected


def test_a_run_that_decodes_nothing_leaves_a_cpu_to_its_network() -> None:
    assert share_processors("cpu", 16, None, None, decodes=False) == (16, 0)
    assert share_processors("cpu", 16, 4, None, decodes=False) == (4, 0)
    assert share_processors("cpu", 16, None, 2, decodes=False) == (14, 2)  # as asked for
