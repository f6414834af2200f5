"""The bars of a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from facekd.workflows.train import _Bars


def test_each_teacher_has_a_bar_of_its_own() -> None:
    bars: list[list[object]] = []

    @contextmanager
    def opened(title: str, total: int | None) -> Iterator[Callable[..., None]]:
        bar: list[object] = [title, total, 0]
        bars.append(bar)

        def advance(done: int, *_: object) -> None:
            bar[2] += done  # type: ignore[operator]

        yield advance

    with ExitStack() as stack:
        shown = _Bars(opened, stack, 64)
        for total, steps in ((100, 4), (100, 4), (30, 2)):  # two teachers, then other crops
            for _ in range(steps):
                shown.labelled(total // steps, total)
        shown.kept(5, 5)
        shown.labelled(7, 7)
    assert bars == [
        ["labelling", 100, 100],
        ["labelling", 100, 100],
        ["labelling", 30, 30],
        ["keeping views", 5, 5],
        ["labelling", 7, 7],
    ]
