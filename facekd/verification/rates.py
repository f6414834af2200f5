"""AUC, EER and TAR of listed pairs, with intervals over the persons where they are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
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
    return identity_bootstrap(statistics, sizes.size, sizes=sizes)


def pair_statistics(
    yes: Floats, no: Floats, ones: Ids, others: Ids, fmrs: Sequence[float]
) -> tuple[Callable[[Floats], list[float]], Ids]:
    """AUC, EER and the TAR at each of ``fmrs`` as a function of how often each person is drawn, and
    the number of mated comparisons of each person; arguments as of `pair_rates`."""
    people, numbers = np.unique(np.concatenate([ones, others.ravel()]), return_inverse=True)
    ones, others = numbers[: yes.size], numbers[yes.size :].reshape(-1, 2)
    levels = metrics.levels_of(yes, no)

    def statistics(weights: Floats) -> list[float]:
        w_yes, w_no = weights[ones], weights[others[:, 0]] * weights[others[:, 1]]
        if not w_yes.any() or not w_no.any():
            return [float("nan")] * (2 + len(fmrs))
        curve = levels.curve(w_yes, w_no)
        tars = [metrics.tar_of(curve, fmr) for fmr in fmrs]
        return [metrics.auc_of(curve), metrics.eer_of(curve), *tars]

    return statistics, np.bincount(ones, minlength=people.size)
