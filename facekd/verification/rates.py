"""AUC, EER and TAR of listed pairs, with intervals over the persons where they are known."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.influences import (
    Influence,
    PairSums,
    auc_influence,
    eer_influence,
    tar_influence,
)
from facekd.verification.intervals import (
    Interval,
    extreme_interval,
    identity_bootstrap,
    wilson,
)
from facekd.verification.operating import OperatingPoint, enough

#: the false match rates at which listed pairs are judged
PAIR_FMRS = (1e-2,)

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Measure:
    """A number with its 95 % interval, where there is one."""

    value: float
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "interval": self.interval.to_dict() if self.interval else None}


@dataclass(frozen=True)
class PairRates:
    auc: Measure
    eer: Measure
    points: tuple[OperatingPoint, ...]
    caveats: tuple[str, ...]


def pair_rates(
    yes: Floats,
    no: Floats,
    ones: Ids | None,
    others: Ids | None,
    asked: Sequence[float] = PAIR_FMRS,
) -> PairRates:
    """Rates of mated scores ``yes`` [M] and non-mated scores ``no`` [N], TAR at the FMRs ``asked``.

    ``ones`` [M] are the persons of the mated comparisons, ``others`` [N, 2] those of the non-mated;
    `None` where persons are not known. Then a TAR has Wilson's interval, which counts pairs as
    independent, AUC and EER have none, and a caveat says so.
    """
    curve = metrics.roc(yes, no)
    auc, eer = metrics.auc_of(curve), metrics.eer_of(curve)
    fmrs = [fmr for fmr in asked if enough(no.size, fmr)]
    tars = [metrics.tar_at_fmr(yes, no, fmr) for fmr in fmrs]
    caveats: tuple[str, ...] = ()
    intervals: list[Interval | None]
    try:
        if ones is None or others is None:
            raise UsageError("the list does not say who is who")
        found = _over_people(yes, no, ones, others, fmrs)
        people = np.unique(ones).size
        rates = [auc, eer, *tars]
        intervals = [extreme_interval(r, people) or i for r, i in zip(rates, found, strict=True)]
    except UsageError as error:
        independent = [wilson(round(tar * yes.size), yes.size) for tar in tars]
        intervals = [None, None, *independent]
        caveats = (
            f"No bootstrap over identities ({error.cause}): the interval of TAR counts pairs as "
            "independent and is too narrow where pairs share persons; AUC and EER have none.",
        )
    points = [OperatingPoint(f, yes.size, no.size) for f in asked if f not in fmrs]
    for fmr, tar, interval in zip(fmrs, tars, intervals[2:], strict=True):
        threshold = metrics.threshold_at_fmr(yes, no, fmr)
        false = int((no >= threshold).sum())
        points.append(OperatingPoint(fmr, yes.size, no.size, tar, threshold, interval, false))
    return PairRates(Measure(auc, intervals[0]), Measure(eer, intervals[1]), tuple(points), caveats)


def _over_people(yes: Floats, no: Floats, ones: Ids, others: Ids, fmrs: list[float]) -> list[Interval]:
    """Intervals of AUC, EER and the TAR at each of ``fmrs``."""
    statistics, sizes = pair_statistics(yes, no, ones, others, fmrs)
    return identity_bootstrap(statistics, sizes.size, influences=statistics.influences())


def pair_statistics(
    yes: Floats, no: Floats, ones: Ids, others: Ids, fmrs: Sequence[float]
) -> tuple[PairStatistics, Ids]:
    """AUC, EER and the TAR at each of ``fmrs`` as a function of how often each person is drawn, and
    the number of mated comparisons of each person; arguments as of `pair_rates`."""
    people, numbers = np.unique(np.concatenate([ones, others.ravel()]), return_inverse=True)
    ones, others = numbers[: yes.size], numbers[yes.size :].reshape(-1, 2)
    sizes = np.bincount(ones, minlength=people.size)
    return PairStatistics(metrics.levels_of(yes, no), PairSums(ones, others, people.size), fmrs), sizes


class PairStatistics:
    """AUC, EER and the TAR at each of ``fmrs`` as a function of how often each person is drawn.

    Comparisons are sorted once; a drawing then costs two running sums and a search in them.
    """

    def __init__(self, levels: metrics.Levels, sums: PairSums, fmrs: Sequence[float]) -> None:
        self._levels, self._sums, self._fmrs = levels, sums, fmrs
        rising, self._ones = _in_order(levels.mated, sums.ones)
        places, others = _in_order(levels.non_mated, sums.others)
        self._one, self._other = np.ascontiguousarray(others.T)
        # for each mated comparison the non-mated ones below it, and those at most as high
        self._lower, self._not_higher = (np.searchsorted(places, rising, side) for side in ("left", "right"))
        # for each number of refused non-mated comparisons the mated ones at most as high
        self._refused = np.append(0, np.searchsorted(rising, places, side="right"))
        # for each threshold the mated and the non-mated comparisons below it
        every = np.arange(levels.thresholds.size)
        self._missed, self._kept_out = np.searchsorted(rising, every), np.searchsorted(places, every)

    def __call__(self, weights: Floats) -> list[float]:
        """AUC, EER and TARs with person i drawn ``weights`` [P] times; NaN where a class is empty."""
        w_yes = weights[self._ones]
        mated, non_mated = _running(w_yes), _running(weights[self._one] * weights[self._other])
        if mated[-1] == 0 or non_mated[-1] == 0:
            return [float("nan")] * (2 + len(self._fmrs))
        beaten = w_yes @ (non_mated[self._lower] + non_mated[self._not_higher])
        auc = float(beaten / (2 * mated[-1] * non_mated[-1]))
        mated, non_mated = mated / mated[-1], non_mated / non_mated[-1]
        refused = np.searchsorted(non_mated, 1 - np.asarray(self._fmrs) - 1e-12)
        return [auc, self._eer(mated, non_mated), *(1 - mated[self._refused[refused]]).tolist()]

    def _eer(self, missed: Floats, refused: Floats) -> float:
        """As `metrics.eer_of`, of the shares of mated and of non-mated comparisons below each."""

        def rates(place: int) -> tuple[float, float]:
            return float(missed[self._missed[place]]), float(1 - refused[self._kept_out[place]])

        def crossed(place: int) -> bool:
            fnmr, fmr = rates(place)
            return fnmr >= fmr

        first = bisect_left(range(self._missed.size), True, key=crossed)
        around = [rates(place) for place in (first - 1, first)]
        least = min(abs(fnmr - fmr) for fnmr, fmr in around)
        nearest = [(fnmr + fmr) / 2 for fnmr, fmr in around if abs(fnmr - fmr) <= least + 1e-12]
        return sum(nearest) / len(nearest)

    def influences(self) -> list[Influence]:
        """The influence of the persons on each of the rates."""
        levels, curve, sums = self._levels, self._levels.curve(), self._sums
        tars = [tar_influence(levels, curve, fmr, sums) for fmr in self._fmrs]
        return [auc_influence(levels, sums), eer_influence(levels, curve, sums), *tars]


def _in_order(
    places: NDArray[np.intp], people: NDArray[np.integer]
) -> tuple[NDArray[np.intp], NDArray[np.integer]]:
    order = np.argsort(places, kind="stable")
    return places[order], people[order]


def _running(weights: Floats) -> Floats:
    sums = np.zeros(weights.size + 1)
    np.cumsum(weights, out=sums[1:])
    return sums
