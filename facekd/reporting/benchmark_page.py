"""The parts of a benchmark's page."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from facekd.benchmark import WHAT_IS_COUNTED, Accuracy, Benchmark, HardPair, ModelResult, Protocol
from facekd.card import Card
from facekd.reporting import number_words
from facekd.reporting.benchmark_figures import (
    histogram_picture,
    latency_picture,
    roc_picture,
    throughput_picture,
)
from facekd.reporting.benchmark_table import side_by_side
from facekd.reporting.page import Cell, FacePair, Page, Section, Table, write_page


def write_benchmark_page(
    path: str | os.PathLike[str],
    benchmark: Benchmark,
    title: str | None = None,
    notice: str | None = None,
    extra: Sequence[Section] = (),
) -> Path:
    """Write a benchmark's page to ``path``; ``notice`` stands above everything, the parts of
    ``extra`` after the accuracy. Raises `InputOutput` where it cannot be written."""
    return write_page(path, page_of_benchmark(benchmark, title, notice, extra))


def page_of_benchmark(
    benchmark: Benchmark, title: str | None = None, notice: str | None = None, extra: Sequence[Section] = ()
) -> Page:
    """The page as a value."""
    students = " and ".join(model.name for model in benchmark.students)
    sections = [
        Section("Side by side", tables=(side_by_side(benchmark),)),
        speed_section(benchmark),
        accuracy_section(benchmark),
        hardest_section(benchmark),
        *extra,
        cards_section(benchmark),
        method_section(benchmark),
    ]
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Page(
        title=title or f"{students} beside {benchmark.teacher.name}",
        headlines=headlines(benchmark),
        sections=tuple(section for section in sections if section is not None),
        notice=notice,
        footer=f"Made by facekd {benchmark.machine.facekd}, {made}. The page loads nothing and runs nothing.",
    )


def headlines(benchmark: Benchmark) -> tuple[str, ...]:
    """One sentence for every student."""
    return tuple(number_words.headline(benchmark, comparison) for comparison in benchmark.comparisons())


def speed_section(benchmark: Benchmark) -> Section:
    return Section(
        "Speed",
        paragraphs=(
            "From the aligned crop to the unit embedding: scaling the pixels, the network and the norm. "
            "Finding the face is the same work for every model and is not in it.",
        ),
        pictures=(latency_picture(benchmark), throughput_picture(benchmark)),
    )


def accuracy_section(benchmark: Benchmark) -> Section:
    tested = _tested(benchmark)
    protocol = benchmark.protocol
    if protocol is None or not tested:
        return Section("Accuracy", ("Not measured: no photos were given (--data, with --pairs).",))
    histograms = tuple(histogram_picture(model.name, accuracy) for model, accuracy in tested)
    roc = roc_picture([(model.name, accuracy) for model, accuracy in tested], protocol.roc)
    return Section(
        "Accuracy",
        paragraphs=_protocol_words(protocol),
        pictures=(*([roc] if roc else []), *histograms),
        tables=tuple(_rates_table(model.name, accuracy) for model, accuracy in tested),
    )


def _tested(benchmark: Benchmark) -> list[tuple[ModelResult, Accuracy]]:
    return [(model, model.accuracy) for model in benchmark.models if model.accuracy]


def _protocol_words(protocol: Protocol) -> tuple[str, ...]:
    what = f"Protocol {protocol.name} on {protocol.data}; faces by {protocol.detector}. {protocol.failures}"
    return (what, *protocol.caveats)


def _rates_table(name: str, accuracy: Accuracy) -> Table:
    rows = tuple(
        (rate.name, number_words.rate(rate), number_words.rate_interval(rate), rate.basis)
        for rate in accuracy.rates
    )
    columns = ("Rate", "Value", "95\u202f% interval", "Rests on")
    return Table(columns, rows, f"{name}: rates in % with what they rest on")


def hardest_section(benchmark: Benchmark) -> Section | None:
    """The comparisons that each model decides worst, with faces where they were given."""
    tested = [(model, accuracy) for model, accuracy in _tested(benchmark) if accuracy.hardest]
    if not tested:
        return None
    tables = tuple(_hardest_table(model.name, accuracy.hardest) for model, accuracy in tested)
    pairs = tuple(
        FacePair(
            *pair.crops, f"{model.name}: {_kind(pair)}, score {pair.score:.3f}; {pair.first}, {pair.second}"
        )
        for model, accuracy in tested
        for pair in accuracy.hardest
        if pair.crops
    )
    told = (
        "Same person with the lowest scores, different persons with the highest. "
        "Wrong labels end up here too."
    )
    return Section("Hardest pairs", (told,), tables, pairs=pairs)


def _hardest_table(name: str, hardest: tuple[HardPair, ...]) -> Table:
    rows = tuple((_kind(p), f"{p.score:.3f}", Cell(p.first, p.second)) for p in hardest)
    return Table(("Comparison", "Score", "Photos"), rows, f"Hardest for {name}")


def _kind(pair: HardPair) -> str:
    return "same person" if pair.mated else "different persons"


def cards_section(benchmark: Benchmark) -> Section:
    facts: tuple[tuple[str, Callable[[Card], str]], ...] = (
        ("Architecture", lambda card: card.architecture),
        ("Licence", lambda card: card.licence),
        ("Trained on", lambda card: card.provenance.data),
        ("Recipe", lambda card: card.provenance.recipe or "not stated"),
        ("Teacher", lambda card: card.teacher.name if card.teacher else "none"),
        ("Images seen", _images_seen),
        ("Date", lambda card: card.provenance.date or "not stated"),
        ("Input", _input),
        ("Crop", lambda card: f"{card.crop.kind}, {card.crop.size} pixels"),
        ("Space", lambda card: card.space[:16]),
        ("Threshold", _threshold),
    )
    rows = tuple((name, *(tell(model.card) for model in benchmark.models)) for name, tell in facts)
    assumed = [model.name for model in benchmark.models if not model.has_card]
    told = (f"Without a card, so read by insightface's convention: {', '.join(assumed)}.",) if assumed else ()
    columns = ("", *(model.name for model in benchmark.models))
    return Section("Where the models come from", told, (Table(columns, rows),))


def _images_seen(card: Card) -> str:
    seen = card.provenance.images_seen
    return "not stated" if seen is None else f"{seen:,}"


def _input(card: Card) -> str:
    contract = card.input
    return f"{contract.size} pixels, {contract.colour.upper()}, (x − {contract.mean:g}) / {contract.std:g}"


def _threshold(card: Card) -> str:
    entry = card.at()
    if entry is None:
        return "none measured"
    return (
        f"{entry.threshold:.4f} at FMR {entry.fmr:g} (95 %: {entry.low:.2g} to {entry.high:.2g}), "
        f"on {entry.data}, {entry.counts.non_mated:,} non-mated comparisons"
    )


def method_section(benchmark: Benchmark) -> Section:
    machine = benchmark.machine
    software = (
        f"facekd {machine.facekd}, ONNX Runtime {machine.onnxruntime}, numpy {machine.numpy}, "
        f"Python {machine.python}"
    )
    memory = number_words.amount(machine.memory_bytes, "B") if machine.memory_bytes else "not known"
    facts = (
        ("Processor", machine.processor),
        ("Cores used", str(machine.cores)),
        ("Instructions", ", ".join(machine.instructions) or "none of those looked for"),
        ("Memory", memory),
        ("System", machine.system),
        ("Device", benchmark.device),
        ("Software", software),
        ("Load before", "not known" if machine.load is None else f"{machine.load:.1f} running processes"),
    )
    timing = benchmark.teacher.timings[0]
    paragraphs = (
        "The models took turns: in every round each ran a burst of calls, the first of them not timed, and "
        "the next round began with the next model. Ratios are of the medians within one round; stated are "
        "their median and the middle nine tenths of them. Whatever slowed the machine slowed all models "
        f"alike. The first setting took {timing.seconds.shape[0]} rounds. ONNX Runtime's threads do not "
        "spin.",
        f"Embedded while timing: {benchmark.crops}. The time does not depend on what a crop shows.",
        "Peak memory is what a fresh process with ONNX Runtime loaded grows by, at most, until one embedding "
        "is out, on one thread; 'load and first crop' is the time from opening the file to there, with the "
        "file in the system's cache. Medians of three processes for each model.",
        WHAT_IS_COUNTED,
    )
    return Section("Machine and method", paragraphs, (Table(("", "This machine"), facts),))
