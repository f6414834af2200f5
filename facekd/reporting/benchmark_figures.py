"""The figures of a benchmark's page, in the order of their sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facekd.benchmark import Benchmark, BenchmarkedModel, roc_points
from facekd.reporting.drawing import DASHES, Drawing, Theme, short_name
from facekd.reporting.number_words import milliseconds
from facekd.reporting.page_parts import PageParts
from facekd.verification import FEWEST_FALSE_MATCHES
from facekd.verification.results import PairResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROC_POINTS = 400
_BINS = 60

SPEED_FIGURES: PageParts[Benchmark, Drawing] = PageParts()
ACCURACY_FIGURES: PageParts[Benchmark, Drawing] = PageParts()


@SPEED_FIGURES.register(10)
def latency_drawing(benchmark: Benchmark) -> Iterator[Drawing]:
    """Median seconds of one crop, with a whisker to the 95th percentile."""
    settings = [s for s in benchmark.settings if s.batch == 1]
    rows = [(model, setting) for setting in settings for model in benchmark.models]

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (model, setting) in enumerate(rows):
            timing = model.timing(setting)
            colour = theme.colour(benchmark.models.index(model))
            axes.barh(place, timing.median * 1e3, height=0.62, color=colour)
            axes.plot([timing.median * 1e3, timing.p95 * 1e3], [place, place], color=theme.ink, lw=1.2)
            axes.plot([timing.p95 * 1e3], [place], "|", color=theme.ink, ms=8)
            axes.annotate(
                f"{milliseconds(timing.median)} (p95 {milliseconds(timing.p95)})",
                (timing.p95 * 1e3, place), xytext=(6, 0), textcoords="offset points", va="center",
                color=theme.ink,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [_row_name(m, s.threads, benchmark.device) for m, s in rows])
        axes.invert_yaxis()
        axes.margins(x=0.5)
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("milliseconds for one crop")

    told = "; ".join(
        f"{m.name} {milliseconds(m.timing(s).median)} on {s.threads} thread{'s' if s.threads > 1 else ''}"
        for m, s in rows
    )
    height = 0.95 + 0.42 * len(rows)
    yield Drawing(
        "latency",
        draw,
        height,
        f"Bar chart of latency. {told}.",
        "Latency: the bar is the median, the whisker ends at the 95th percentile. Shorter is better.",
    )


@SPEED_FIGURES.register(20)
def throughput_drawing(benchmark: Benchmark) -> Iterator[Drawing]:
    """Crops per second in batches."""
    settings = [s for s in benchmark.settings if s.batch > 1]
    rows = [(model, setting) for setting in settings for model in benchmark.models]

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (model, setting) in enumerate(rows):
            rate = model.timing(setting).crops_per_second
            colour = theme.colour(benchmark.models.index(model))
            axes.barh(place, rate, height=0.62, color=colour)
            axes.annotate(
                f"{rate:,.0f}", (rate, place), xytext=(6, 0), textcoords="offset points",
                va="center", color=theme.ink,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [_row_name(m, s.threads, benchmark.device) for m, s in rows])
        axes.invert_yaxis()
        axes.margins(x=0.16)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"crops per second, {settings[0].batch} at once")

    told = "; ".join(
        f"{m.name} {m.timing(s).crops_per_second:,.0f} crops a second on {s.threads} "
        f"thread{'s' if s.threads > 1 else ''}"
        for m, s in rows
    )
    height = 0.95 + 0.42 * len(rows)
    alt = f"Bar chart of throughput. {told}."
    yield Drawing("throughput", draw, height, alt, "Throughput. Longer is better.")


@ACCURACY_FIGURES.register(10)
def roc_drawing(benchmark: Benchmark) -> Iterator[Drawing]:
    """TAR over FMR on a log axis; none if there are too few comparisons for any part of it.

    A curve begins where 30 false matches are counted: to the left of that it is noise.
    """
    curves = [(model.name, *well_counted(model.result)) for model in benchmark.models if model.result]
    if benchmark.protocol is None or any(fmr.size < 2 for _, fmr, _ in curves):
        return
    roc = benchmark.protocol.roc

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, fmr, tar) in enumerate(curves):
            axes.plot(
                fmr, tar * 100, lw=1.8, drawstyle="steps-post", label=short_name(name),
                color=theme.colour(place), ls=DASHES[place % len(DASHES)],
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.set_xlabel("false match rate")
        axes.set_ylabel("true accept rate, %")
        axes.legend(loc="best", frameon=False, labelcolor=theme.ink, fontsize="small")

    names = ", ".join(name for name, *_ in curves)
    alt = f"ROC of {names} over {roc}, FMR on a log axis."
    caption = (
        f"ROC over {roc}. The curves begin where {FEWEST_FALSE_MATCHES} false matches are counted; "
        "further left they would be noise."
    )
    yield Drawing("roc", draw, 3.7, alt, caption)


def well_counted(result: PairResult) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The part of a ROC that rests on at least 30 false matches, in at most `_ROC_POINTS` points
    evenly spaced on the log axis; at each the TAR at or below that FMR."""
    points = roc_points(result)
    shown = points.fmr * points.non_mated >= FEWEST_FALSE_MATCHES - 1e-6
    fmr, tar = points.fmr[shown], points.tar[shown]
    if fmr.size <= _ROC_POINTS:
        return fmr, tar
    wanted = np.geomspace(fmr[0], fmr[-1], _ROC_POINTS)
    place = np.searchsorted(fmr, wanted * (1 + 1e-9), side="right") - 1
    return wanted, tar[place]


@ACCURACY_FIGURES.register(20)
def histogram_drawings(benchmark: Benchmark) -> Iterator[Drawing]:
    """The distributions of mated and non-mated scores of each model."""
    for model in benchmark.models:
        if model.result:
            yield _histogram(model.name, model.result)


def _histogram(name: str, result: PairResult) -> Drawing:
    mated = result.scores[result.mated & result.completed]
    non_mated = result.scores[~result.mated & result.completed]
    edges = np.linspace(min(float(mated.min()), float(non_mated.min())), 1, _BINS + 1)

    def draw(axes: Axes, theme: Theme) -> None:
        kinds = (("non-mated", non_mated, theme.series[1]), ("mated", mated, theme.series[0]))
        for label, scores, colour in kinds:
            share = np.histogram(scores, edges)[0] / scores.size * 100
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(share, edges, color=colour, lw=1.4, label=f"{label} ({scores.size:,})")
        axes.set_xlabel("score (cosine)")
        axes.set_ylabel("share of comparisons, %")
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, labelcolor=theme.ink,
            fontsize="small",
        )  # fmt: skip

    alt = (
        f"Histogram of the scores of {name}: mated comparisons have a median of "
        f"{np.median(mated):.2f}, non-mated ones of {np.median(non_mated):.2f}."
    )
    return Drawing("scores", draw, 2.7, alt, f"Scores of {name}")


def _row_name(model: BenchmarkedModel, threads: int, device: str) -> str:
    where = device if device != "cpu" else f"{threads} thread{'s' if threads > 1 else ''}"
    return f"{short_name(model.name)}\n{where}"
