"""A benchmark as one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from facekd.benchmark import Benchmark
from facekd.reporting.benchmark_sections import BENCHMARK_SECTIONS, BenchmarkPage
from facekd.reporting.benchmark_words import headlines
from facekd.reporting.page import FACES, Page, Section, dated_page, write_page


def write_benchmark_page(
    path: str | os.PathLike[str],
    benchmark: Benchmark,
    title: str | None = None,
    notice: str | None = None,
    extra: Sequence[Section] = (),
) -> Path:
    """Write a benchmark's page to ``path``; ``notice`` is at the top, the sections ``extra`` after
    the accuracy. Raises `InputOutput` if it cannot be written."""
    return write_page(path, page_of_benchmark(benchmark, title, notice, extra))


def page_of_benchmark(
    benchmark: Benchmark, title: str | None = None, notice: str | None = None, extra: Sequence[Section] = ()
) -> Page:
    """The page of a benchmark."""
    shows_faces = any(shown.faces for model in benchmark.models for shown in model.hardest)
    told = " ".join(filter(None, (notice, FACES if shows_faces else None)))
    students = " and ".join(model.name for model in benchmark.students)
    return dated_page(
        title or f"{students} beside {benchmark.teacher.name}",
        headlines(benchmark),
        BENCHMARK_SECTIONS.of(BenchmarkPage(benchmark, extra)),
        told or None,
        benchmark.machine.facekd,
    )
