"""AUC, EER and TAR of listed pairs, with intervals over the persons where they are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.intervals import (
    Interval,
    identity_bootstrap,
    rule_of_three,
    weighted_tar,
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


def pair_rates(yes: Floats, no: Floats, ones: Ids | None, others: Ids | None) -> PairRates:
    """Rates of mated scores ``yes`` [M] and non-mated scores ``no`` [N].

    ``ones`` [M] are the persons of the mated comparisons, ``others`` [N, 2] those of the non-mated;
    `None` where persons are not known. Then a TAR has Wilson's interval, which counts pairs as
    independent, AUC and EER have none, and a caveat says so.
    """
    curve = metrics.roc(yes, no)
    auc, eer = metrics.auc_of(curve), metrics.eer_of(curve)
    fmrs = [fmr for fmr in PAIR_FMRS if enough(no.size, fmr)]
    tars = [metrics.tar_at_fmr(yes, no, fmr) for fmr in fmrs]
    caveats: tuple[str, ...] = ()
    try:
        if ones is None or others is None:
            raise UsageError("the list does not say who is who")
        intervals = _over_people(yes, no, ones, others, fmrs)
        intervals = _bound_perfect([auc, 1 - eer, *tars], intervals, np.unique(ones).size)
    except UsageError as error:
        independent = [wilson(round(tar * yes.size), yes.size) for tar in tars]
        intervals = [None, None, *independent]
        caveats = (
            f"No bootstrap over identities ({error.cause}): the interval of TAR counts pairs as "
            "independent and is too narrow where pairs share persons; AUC and EER have none.",
        )
    points = [OperatingPoint(f, yes.size, no.size) for f in PAIR_FMRS if f not in fmrs]
    for fmr, tar, interval in zip(fmrs, tars, intervals[2:], strict=True):
        threshold = metrics.threshold_at_fmr(yes, no, fmr)
        false = int((no >= threshold).sum())
        points.append(OperatingPoint(fmr, yes.size, no.size, tar, threshold, interval, false))
    return PairRates(Measure(auc, intervals[0]), Measure(eer, intervals[1]), tuple(points), caveats)


def _over_people(yes: Floats, no: Floats, ones: Ids, others: Ids, fmrs: list[float]) -> list[Interval | None]:
    """Intervals of AUC, EER and the TAR at each of ``fmrs``."""
    falling = np.argsort(-no)
    no, others = no[falling], others[falling]
    people, numbers = np.unique(np.concatenate([ones, others.ravel()]), return_inverse=True)
    ones, others = numbers[: yes.size], numbers[yes.size :].reshape(-1, 2)

    def statistics(weights: Floats) -> list[float]:
        w_yes, w_no = weights[ones], weights[others[:, 0]] * weights[others[:, 1]]
        if not w_yes.any() or not w_no.any():
            return [float("nan")] * (2 + len(fmrs))
        curve = metrics.roc(yes, no, w_yes, w_no)
        tars = [weighted_tar(yes, w_yes, no, w_no, float(w_no.sum()), fmr) for fmr in fmrs]
        return [metrics.auc_of(curve), metrics.eer_of(curve), *tars]

    return list(identity_bootstrap(statistics, people.size))


def _bound_perfect(
    shares: list[float], intervals: list[Interval | None], people: int
) -> list[Interval | None]:
    """Without an error there is nothing to draw from: there, the number of persons bounds what was
    not seen. ``shares`` are one where all is right; the second belongs to the EER."""
    bound = rule_of_three(people)
    worst = [(1 - bound, 1.0), (0.0, bound), *[(1 - bound, 1.0)] * (len(shares) - 2)]
    return [
        Interval(*limits, "rule of three over identities") if share == 1 else found
        for share, found, limits in zip(shares, intervals, worst, strict=True)
    ]
