"""Pictures of results: what is drawn on one pair of axes, and the figures of single results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from facekd.reporting.drawing import LIGHT, Draw, Theme, figure_of, short_name
from facekd.verification import DET_RATES, Roc, Scored, det_of, normal_deviate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = LIGHT.series
#: points of a curve that are drawn
_POINTS = 400
LegendPlace = Literal["best", "lower right", "upper right"]
_STYLES = {"listed pairs": ":"}

Floats = NDArray[np.float64]


def scored_figure(models: Mapping[str, Sequence[Scored]]) -> Figure:
    """TAR over FMR (log axis), one colour for each model.

    Listed pairs are dotted, all pairs solid. A curve ends where fewer than 30 false matches are
    left to measure its FMR by; the band of each model's last curve is that of `confidence_bands`.
    """
    return figure_of([roc_draw(models)], LIGHT, 7, 5)


def roc_draw(models: Mapping[str, Sequence[Scored]]) -> Draw:
    """TAR over FMR of each model's comparisons, with a band around the last of them."""

    def draw(axes: Axes, theme: Theme) -> None:
        lowest = 1.0
        for place, (name, parts) in enumerate(models.items()):
            colour, band = theme.colour(place), parts[-1].band
            if band is not None:
                low, high = 100 * band.low, 100 * band.high
                axes.fill_between(band.fmr, low, high, color=colour, alpha=0.16, lw=0)
                lowest = min(lowest, float(band.low.min()))
            for part in parts:
                if part.fmr.size:
                    axes.step(
                        *thinned(part.fmr, 100 * part.tar), _STYLES.get(part.comparisons, "-"),
                        where="post", color=colour, label=_label(name, part, parts), lw=1.7,
                    )  # fmt: skip
                    lowest = min(lowest, float(part.tar.min()))
        room = 1 - lowest
        axes.set_ylim(100 * max(0.0, lowest - 0.1 * room - 0.002), 100 * (1 + 0.02 * room + 0.0005))
        _rate_axis(axes, "x")
        axes.set_xlabel("false match rate (FMR)")
        axes.set_ylabel("TAR = 1 − FNMR, %")
        _legend(axes, theme, "lower right")

    return draw


def _label(name: str, part: Scored, parts: Sequence[Scored]) -> str:
    return f"{short_name(name)}, {part.comparisons}" if len(parts) > 1 else short_name(name)


def det_draw(models: Mapping[str, Roc]) -> Draw:
    """FNMR over FMR on normal-deviate axes; points without errors of both kinds have no place there.

    Each axis begins at the lowest rate above 0 of the data, about one error, and no higher than 10 %.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    def draw(axes: Axes, theme: Theme) -> None:
        # an axis that began higher would make a sliver of the picture
        lowest = normal_deviate([0.1, 0.1])
        for place, (name, curve) in enumerate(models.items()):
            det = det_of(curve)
            # beyond one half nobody would operate, and the interesting corner would shrink
            inside = (det.fmr <= 0.5) & (det.fnmr <= 0.5)
            x, y = thinned(det.x[inside], det.y[inside])
            axes.plot(x, y, color=theme.colour(place), label=short_name(name), lw=1.7)
            if det.x.size:
                lowest = np.minimum(lowest, [det.x.min(), det.y.min()])
        left, bottom = lowest - 0.15
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator(normal_deviate(DET_RATES).tolist()))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda place, _: _percent(_rate_at(place))))
        axes.set(xlim=(left, 0.15), ylim=(bottom, 0.15), aspect="equal")
        axes.tick_params(axis="x", labelrotation=45)
        axes.set_xlabel("FMR, %")
        axes.set_ylabel("FNMR, %")
        _legend(axes, theme, "upper right")

    return draw


def _rate_at(place: float) -> float:
    return min(DET_RATES, key=lambda rate: abs(float(normal_deviate(rate)) - place))


def _percent(rate: float) -> str:
    return f"{100 * rate:g}" if rate >= 1e-5 else "0.0001"


def threshold_draw(models: Mapping[str, Scored]) -> Draw:
    """FMR (dashed) and FNMR (solid) over the threshold, with a dot at each operating point."""

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, scored) in enumerate(models.items()):
            colour, curve = theme.colour(place), scored.well_counted
            # the curve itself has no threshold above the highest non-mated score
            mated = np.sort(scored.mated)
            rising = np.unique(mated)
            missed = np.searchsorted(mated, rising, side="left") / mated.size
            axes.plot(*thinned(curve.thresholds, curve.fmr), "--", color=colour, lw=1.4,
                      label=f"{short_name(name)}, FMR")  # fmt: skip
            axes.plot(*thinned(rising, missed), color=colour, lw=1.7, label=f"{short_name(name)}, FNMR")
            for point in scored.points:
                axes.plot([point.threshold or 0.0], [point.fmr], "o", color=colour, ms=4)
        axes.set_xlim(*_score_range(list(models.values())))
        _rate_axis(axes, "y")
        axes.set_ylim(top=1.3)
        axes.set_xlabel("threshold on the score")
        axes.set_ylabel("error rate")
        _legend(axes, theme, "best")

    return draw


def histogram_draw(scored: Scored) -> Draw:
    """How mated and non-mated scores lie, as shares of each kind, with a line at each threshold."""
    mated = np.histogram(scored.mated, scored.edges)[0]

    def draw(axes: Axes, theme: Theme) -> None:
        kinds = (
            ("non-mated", scored.counts, scored.non_mated, theme.colour(1)),
            ("mated", mated, scored.mated.size, theme.colour(0)),
        )
        for label, counts, total, colour in kinds:
            share = 100 * counts / total
            axes.stairs(share, scored.edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(share, scored.edges, color=colour, lw=1.4, label=f"{label} ({total:,})")
        for point in scored.points:
            axes.axvline(point.threshold or 0.0, color=theme.ink, lw=1, ls=":")
            axes.annotate(
                f"FMR {point.fmr:g}", (point.threshold or 0.0, 1), xycoords=axes.get_xaxis_transform(),
                xytext=(2, -3), textcoords="offset points", rotation=90, va="top", fontsize="small",
            )  # fmt: skip
        axes.set_xlim(*_score_range([scored]))
        # room for the names of the thresholds
        axes.set_ylim(0, 1.35 * axes.dataLim.y1 if scored.points else None)
        axes.set_xlabel("score")
        axes.set_ylabel("share of comparisons, %")
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, labelcolor=theme.ink,
            fontsize="small",
        )  # fmt: skip

    return draw


def _score_range(shown: Sequence[Scored]) -> tuple[float, float]:
    return min(float(s.edges[0]) for s in shown), max(float(s.edges[-1]) for s in shown)


def cmc_draw(models: Mapping[str, Floats]) -> Draw:
    """The share of mated searches found up to each rank, of each model's CMC [enrolled]."""

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, rates) in enumerate(models.items()):
            ranks = np.arange(1, rates.size + 1)
            axes.step(ranks, 100 * rates, where="post", color=theme.colour(place), label=short_name(name))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rank, _: f"{rank:g}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.set_xlabel("rank")
        axes.set_ylabel("found up to this rank, %")
        _legend(axes, theme, "lower right")

    return draw


def open_set_draw(models: Mapping[str, tuple[Floats, Floats]]) -> Draw:
    """FNIR over FPIR (log axis), of each model's FPIR (rising) and FNIR."""

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, (fpir, fnir)) in enumerate(models.items()):
            if fpir.size:
                shown = thinned(fpir, 100 * fnir)
                axes.step(*shown, where="post", color=theme.colour(place), label=short_name(name))
        _rate_axis(axes, "x")
        axes.set_xlabel("false positive identification rate (FPIR)")
        axes.set_ylabel("FNIR, %")
        _legend(axes, theme, "upper right")

    return draw


def thinned(x: Floats, y: Floats, most: int = _POINTS) -> tuple[Floats, Floats]:
    """At most about ``most`` points of a curve, both ends among them, evenly far apart along the way
    that is drawn; fewer points are left as they are."""
    if x.size <= most:
        return x, y
    way = np.linspace(0, 1, x.size)
    # an axis may be linear or logarithmic
    for values in (x, y, *[np.log(rates) for rates in (x, y) if rates.min() > 0]):
        steps = np.abs(np.diff(values))
        way[1:] += np.cumsum(steps) / max(steps.sum(), 1e-300)
    kept = np.searchsorted(way, np.linspace(0, way[-1], most)).clip(0, x.size - 1)
    # a jump that is longer than the way between two points keeps both its ends
    before = np.flatnonzero(np.diff(way) > way[-1] / most)
    kept = np.unique(np.concatenate([kept, before, before + 1]))
    return x[kept], y[kept]


def _rate_axis(axes: Axes, which: str) -> None:
    """A log axis for a rate, labelled at its powers of ten; a linear one where it spans none."""
    axis, shown = axes.xaxis if which == "x" else axes.yaxis, axes.dataLim
    least, most = (shown.minposx, shown.x1) if which == "x" else (shown.minposy, shown.y1)
    if most <= 0 or np.floor(np.log10(most)) < np.ceil(np.log10(least)):
        return
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    axis.set_major_formatter(lambda rate, _: f"{rate:g}".replace("e-0", "e-"))
    axis.set_minor_formatter(lambda *_: "")
    axes.grid(False, which="minor")


def _legend(axes: Axes, theme: Theme, place: LegendPlace) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, frameon=False, labelcolor=theme.ink, fontsize="small")
    else:
        axes.text(0.5, 0.5, "insufficient data", ha="center", transform=axes.transAxes)
