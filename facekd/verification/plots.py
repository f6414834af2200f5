"""Pictures of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facekd.verification import metrics
from facekd.verification.allpairs import HIGHEST_FMR, AllPairs
from facekd.verification.operating import FEWEST_FALSE_MATCHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from facekd.verification.result import PairResult

#: told apart by people who see colours differently (Okabe and Ito, 2008)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_POINTS = 400

Floats = NDArray[np.float64]
#: FMR, TAR, line style, label
Curve = tuple[Floats, Floats, str, str]


def roc_figure(results: Mapping[str, PairResult]) -> Figure:
    """TAR over FMR (log axis), one colour for each model of ``results``.

    Listed pairs are dotted, all pairs solid. A curve ends where fewer than 30 false matches are
    left to measure its FMR by.
    """
    curves: dict[str, list[Curve]] = {}
    for name, result in results.items():
        completed = result.completed
        listed = listed_curve(
            result.scores[completed & result.mated], result.scores[completed & ~result.mated]
        )
        curves[name] = [(*listed, ":", f"{name}, listed pairs")]
        if result.everyone is not None:
            curves[name].append((*all_pairs_curve(result.everyone), "-", f"{name}, all pairs"))
    return curves_figure(curves)


def curves_figure(models: Mapping[str, Sequence[Curve]]) -> Figure:
    """TAR over FMR (log axis), one colour for the curves of each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    lowest = 1.0
    for place, curves in enumerate(models.values()):
        colour = COLOURS[place % len(COLOURS)]
        for fmr, tar, style, label in curves:
            if fmr.size:
                axes.step(fmr, tar, style, where="post", color=colour, label=label, linewidth=1.6)
                lowest = min(lowest, float(tar.min()))
    axes.set_xscale("log")
    axes.set_ylim(max(0.0, lowest - 0.1 * (1 - lowest) - 0.002), 1.0 + 0.02 * (1 - lowest) + 0.0005)
    axes.set_xlabel("false match rate (FMR)")
    axes.set_ylabel("true accept rate (TAR = 1 − FNMR)")
    axes.grid(True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(loc="lower right", fontsize="small", frameon=False)
    return figure


def listed_curve(mated: Floats, non_mated: Floats) -> tuple[Floats, Floats]:
    """FMR and TAR of listed comparisons, as far as 30 false matches are left."""
    curve = metrics.roc(mated, non_mated)
    shown = curve.fmr * non_mated.size >= FEWEST_FALSE_MATCHES - 1e-9
    return curve.fmr[shown][::-1], 1 - curve.fnmr[shown][::-1]


def all_pairs_curve(pairs: AllPairs) -> tuple[Floats, Floats]:
    """FMR and TAR of all pairs, between 30 false matches and the end of the kept tail."""
    most = int(pairs.non_mated * HIGHEST_FMR)
    if most <= FEWEST_FALSE_MATCHES:
        return np.empty(0), np.empty(0)
    counts = np.unique(np.geomspace(FEWEST_FALSE_MATCHES, most, _POINTS).astype(int))
    mated = np.sort(pairs.mated)
    # a mated score matches when it is above the first non-mated score that may not
    missed = np.searchsorted(mated, pairs.tail[counts], side="right")
    return counts / pairs.non_mated, 1 - missed / mated.size
