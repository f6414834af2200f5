"""The sections of a benchmark's page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from facekd.benchmark import WHAT_IS_COUNTED, Benchmark, BenchmarkedModel
from facekd.card import Card
from facekd.reporting import benchmark_words
from facekd.reporting.benchmark_figures import ACCURACY_FIGURES, SPEED_FIGURES
from facekd.reporting.benchmark_table import side_by_side
from facekd.reporting.number_words import amount
from facekd.reporting.page import Cell, FacePair, Section, Table
from facekd.reporting.page_parts import PageParts
from facekd.verification.results import HardPair, ShownPair


@dataclass(frozen=True)
class BenchmarkPage:
    """The contents of the page; ``extra`` are sections from elsewhere."""

    benchmark: Benchmark
    extra: Sequence[Section] = ()


BENCHMARK_SECTIONS: PageParts[BenchmarkPage, Section] = PageParts()


@BENCHMARK_SECTIONS.register(10)
def table_section(page: BenchmarkPage) -> Iterator[Section]:
    yield Section("Side by side", tables=(side_by_side(page.benchmark),))


@BENCHMARK_SECTIONS.register(20)
def speed_section(page: BenchmarkPage) -> Iterator[Section]:
    yield Section(
        "Speed",
        paragraphs=(
            "From the aligned crop to the unit embedding: scaling the pixels, the network and the norm. "
            "Face detection takes equally long for every model and is not included.",
        ),
        pictures=tuple(drawing.picture() for drawing in SPEED_FIGURES.of(page.benchmark)),
    )


@BENCHMARK_SECTIONS.register(30)
def accuracy_section(page: BenchmarkPage) -> Iterator[Section]:
    protocol = page.benchmark.protocol
    tested = [model for model in page.benchmark.models if model.result]
    if protocol is None or not tested:
        yield Section("Accuracy", ("Not measured: no photos were given (--data, with --pairs).",))
        return
    what = f"Protocol {protocol.name} on {protocol.data}; faces by {protocol.detector}. {protocol.failures}"
    yield Section(
        "Accuracy",
        paragraphs=(what, *protocol.caveats),
        pictures=tuple(drawing.picture() for drawing in ACCURACY_FIGURES.of(page.benchmark)),
        tables=tuple(map(_rates_table, tested)),
    )


def _rates_table(model: BenchmarkedModel) -> Table:
    rows = tuple(
        (rate.name, benchmark_words.rate(rate), benchmark_words.rate_interval(rate), rate.basis)
        for rate in model.rates
    )
    columns = ("Rate", "Value", "95\u202f% interval", "Based on")
    return Table(columns, rows, f"{model.name}: rates in % with their data")


@BENCHMARK_SECTIONS.register(40)
def hardest_section(page: BenchmarkPage) -> Iterator[Section]:
    """The comparisons with each model's largest errors, with faces if they were given."""
    tested = [model for model in page.benchmark.models if model.hardest]
    if not tested:
        return
    told = (
        "Mated comparisons with the lowest scores, non-mated ones with the highest. "
        "Wrong labels are among them too."
    )
    pairs = tuple(
        FacePair(*shown.faces, _told(model.name, shown.pair))
        for model in tested
        for shown in model.hardest
        if shown.faces
    )
    # pairs that are shown need no row
    bare = {model.name: [shown for shown in model.hardest if not shown.faces] for model in tested}
    tables = tuple(_hardest_table(name, hardest) for name, hardest in bare.items() if hardest)
    yield Section("Hardest pairs", (told,), tables, pairs=pairs)


def _told(name: str, pair: HardPair) -> str:
    return f"{name}: {_kind(pair)}, score {pair.score:.3f}; {pair.first}, {pair.second}"


def _hardest_table(name: str, hardest: Sequence[ShownPair]) -> Table:
    pairs = [shown.pair for shown in hardest]
    rows = tuple((_kind(p), f"{p.score:.3f}", Cell(p.first, p.second)) for p in pairs)
    return Table(("Comparison", "Score", "Photos"), rows, f"Hardest for {name}")


def _kind(pair: HardPair) -> str:
    return "mated" if pair.mated else "non-mated"


@BENCHMARK_SECTIONS.register(50)
def extra_sections(page: BenchmarkPage) -> Iterator[Section]:
    yield from page.extra


@BENCHMARK_SECTIONS.register(60)
def cards_section(page: BenchmarkPage) -> Iterator[Section]:
    models = page.benchmark.models
    facts: tuple[tuple[str, Callable[[Card], str]], ...] = (
        ("Architecture", lambda card: card.architecture),
        ("Licence", lambda card: card.licence),
        ("Trained on", lambda card: card.provenance.data),
        ("Recipe", lambda card: card.provenance.recipe or "not stated"),
        ("Teacher", lambda card: card.teacher.name if card.teacher else "none"),
        ("Begun with", _start),
        ("Images seen", _images_seen),
        ("Date", lambda card: card.provenance.date or "not stated"),
        ("Input", _input),
        ("Crop", lambda card: f"{card.crop.kind}, {card.crop.size} pixels"),
        ("Space", lambda card: card.space[:16]),
        ("Threshold", _threshold),
    )
    rows = tuple((name, *(tell(model.card) for model in models)) for name, tell in facts)
    assumed = [model.name for model in models if not model.has_card]
    told = (f"Without a card, read by insightface's convention: {', '.join(assumed)}.",) if assumed else ()
    columns = ("Card", *(model.name for model in models))
    yield Section("Where the models come from", told, (Table(columns, rows, "The card of each model"),))


def _start(card: Card) -> str:
    start = card.provenance.start
    return "random weights, or not stated" if start is None else start.name


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


@BENCHMARK_SECTIONS.register(70)
def method_section(page: BenchmarkPage) -> Iterator[Section]:
    benchmark, machine = page.benchmark, page.benchmark.machine
    software = (
        f"facekd {machine.facekd}, ONNX Runtime {machine.onnxruntime}, numpy {machine.numpy}, "
        f"Python {machine.python}"
    )
    memory = amount(machine.memory_bytes, "B") if machine.memory_bytes else "not known"
    facts = (
        ("Processor", machine.processor),
        ("Cores used", str(machine.cores)),
        ("Instructions", ", ".join(machine.instructions) or "none of those searched for"),
        ("Memory", memory),
        ("System", machine.system),
        ("Device", benchmark.device),
        ("Software", software),
        ("Load before", "not known" if machine.load is None else f"{machine.load:.1f} running processes"),
    )
    timing = benchmark.teacher.timings[0]
    paragraphs = (
        "The models took turns: in every round each ran a burst of calls, with the first not timed, and "
        "the next round began with the next model. Ratios are of the medians within one round; the table has "
        "their median and their middle nine tenths. Anything that slowed the machine slowed all models "
        f"alike. The first setting took {timing.seconds.shape[0]} rounds. ONNX Runtime's threads do not "
        "spin.",
        f"Embedded while timing: {benchmark.crops}. The time does not depend on the content of a crop.",
        "Peak memory is the largest growth of a new process, with ONNX Runtime loaded, until one embedding "
        "is computed, on one thread; 'load and first crop' is the time from opening the file to that point, "
        "with the file in the system's cache. Medians of three processes for each model.",
        WHAT_IS_COUNTED,
    )
    yield Section(
        "Machine and method",
        paragraphs,
        (Table(("Part", "This machine"), facts, "The machine of the measurement"),),
    )
