"""The pictures of results of one protocol, as many as apply to their kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from facekd.reporting.drawing import Drawing
from facekd.reporting.plots import cmc_draw, det_draw, histogram_draw, open_set_draw, roc_draw, threshold_draw
from facekd.verification import FEWEST_FALSE_MATCHES, Scored, curves_of, det_of, open_curve
from facekd.verification.results import IdentificationResult, Result

Floats = NDArray[np.float64]

_CUT = f"The curves end where fewer than {FEWEST_FALSE_MATCHES} false {{}} are left to measure by."


def drawings(results: Mapping[str, Result]) -> tuple[Drawing, ...]:
    """ROC, DET, error rates over the threshold and score histograms, or for searches CMC and FNIR over
    FPIR; ``results`` by model name. What the data cannot show is left out."""
    scored = {name: parts for name, result in results.items() if (parts := curves_of(result))}
    searched = {name: result for name, result in results.items() if isinstance(result, IdentificationResult)}
    opened = {name: open_curve(found.searches) for name, found in searched.items()}
    return (
        *score_drawings(scored),
        *(histogram_drawing(name, parts[-1]) for name, parts in scored.items()),
        *cmc_drawings({name: found.cmc() for name, found in searched.items()}),
        *open_set_drawings(opened),
    )


def score_drawings(models: Mapping[str, tuple[Scored, ...]]) -> Iterator[Drawing]:
    """ROC, DET and error rates over the threshold."""
    if not models:
        return
    main = {name: parts[-1] for name, parts in models.items()}
    names, over = ", ".join(main), next(iter(main.values())).comparisons
    if any(part.fmr.size > 1 for parts in models.values() for part in parts):
        yield Drawing(
            "roc", roc_draw(models), 3.7, f"ROC of {names}: TAR over FMR on a log axis.", _roc(models)
        )
    well = {name: part.well_counted for name, part in main.items()}
    if any(det_of(curve).x.size > 1 for curve in well.values()):
        yield Drawing(
            "det", det_draw(well), 4.8, f"DET of {names}: FNMR over FMR on normal-deviate axes.",
            f"DET over {over}: both error rates on normal-deviate axes; lower and further left is better.",
        )  # fmt: skip
    yield Drawing(
        "thresholds", threshold_draw(main), 3.7,
        f"FMR and FNMR of {names} over the threshold, on a log axis.",
        f"Error rates over the threshold, {over}. A dot is an operating point of the table: the threshold "
        "below it gives that FMR.",
    )  # fmt: skip


def histogram_drawing(name: str, part: Scored) -> Drawing:
    """How the scores of one model lie."""
    alt = (
        f"Histogram of the scores of {name}: mated comparisons have a median of "
        f"{np.median(part.mated):.2f}; thresholds are marked."
    )
    caption = f"Scores of {name}, {part.comparisons}, with the thresholds of the table."
    return Drawing(f"scores of {name}", histogram_draw(part), 3.0, alt, caption)


def _roc(models: Mapping[str, tuple[Scored, ...]]) -> str:
    """What stands below the ROC."""
    parts = [parts[-1] for parts in models.values()]
    several = any(len(found) > 1 for found in models.values())
    over = "solid: all pairs of the photos, dotted: the listed pairs" if several else parts[0].comparisons
    methods = {part.band.method for part in parts if part.band is not None}
    band = f" Bands: 95 % at each FMR on its own, {' or '.join(sorted(methods))}." if methods else ""
    return f"ROC, {over}.{band} {_CUT.format('matches')}"


def cmc_drawings(models: Mapping[str, Floats]) -> Iterator[Drawing]:
    """Of each model's CMC [enrolled]."""
    if models:
        names = ", ".join(models)
        yield Drawing(
            "cmc", cmc_draw(models), 3.4, f"CMC of {names}: share of mated searches found up to each rank.",
            "CMC: the share of mated searches whose person is among the first so many of the gallery.",
        )  # fmt: skip


def open_set_drawings(models: Mapping[str, tuple[Floats, Floats]]) -> Iterator[Drawing]:
    """Of each model's FPIR (rising) and FNIR."""
    names = ", ".join(models)
    if any(fpir.size > 1 for fpir, _ in models.values()):
        yield Drawing(
            "open set", open_set_draw(models), 3.4, f"Open set of {names}: FNIR over FPIR on a log axis.",
            "Open set: persons who are missed over strangers who are taken for somebody. "
            + _CUT.format("positives"),
        )  # fmt: skip
