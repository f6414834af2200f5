"""The rates of listed pairs, with intervals over identities if these are known: AUC and partial AUC,
EER, minDCF, d' and TAR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification import costs, metrics
from facekd.verification.bootstrap import log_odds_intervals, multiple_of, replicated
from facekd.verification.drawn_rates import PairStatistics, WholeStatistics
from facekd.verification.influence_functions import PairSums
from facekd.verification.intervals import Interval, extreme_interval, rule_of_three, wilson
from facekd.verification.operating_points import PARTIAL_FMR, OperatingPoint, enough
from facekd.verification.results import Measure, PairRates

#: the false match rates for listed pairs
PAIR_FMRS = (1e-2,)


Floats = NDArray[np.float64]


Ids = NDArray[np.int64]


def pair_rates(
    yes: Floats,
    no: Floats,
    ones: Ids | None,
    others: Ids | None,
    asked: Sequence[float] = PAIR_FMRS,
) -> PairRates:
    """Rates of mated scores ``yes`` [M] and non-mated scores ``no`` [N], TAR at the FMRs ``asked``.

    ``ones`` [M] are the identities of the mated comparisons, ``others`` [N, 2] those of the non-mated;
    `None` if they are not known. A TAR then has Wilson's interval, which treats pairs as
    independent, the other numbers have none, and a caveat says so.

    Intervals are those of `bootstrap.identity_bootstrap`; minDCF's is corrected for bias. d' is not a rate:
    half of its interval is Student's multiple of the spread of d' itself, and it has none if it is infinite,
    in a replicate or at all.
    """
    curve = metrics.roc(yes, no)
    fmrs = [fmr for fmr in asked if enough(no.size, fmr)]
    tars = [metrics.tar_at_fmr(yes, no, fmr) for fmr in fmrs]
    values = [
        metrics.auc_of(curve), metrics.eer_of(curve), *tars,
        metrics.partial_auc_of(curve, PARTIAL_FMR), costs.min_dcf(yes, no), metrics.d_prime(yes, no),
    ]  # fmt: skip
    caveats: tuple[str, ...] = ()
    intervals: list[Interval | None]
    try:
        if ones is None or others is None:
            raise UsageError("the list does not name identities")
        intervals = _over_people(yes, no, ones, others, fmrs, values)
    except UsageError as error:
        independent = [wilson(round(tar * yes.size), yes.size) for tar in tars]
        intervals = [None, None, *independent, None, None, None]
        caveats = (
            f"No bootstrap over identities ({error.cause}): the interval of TAR treats pairs as "
            "independent and is too narrow if pairs share identities; the other numbers have none.",
        )
    auc, eer, *found, partial, min_dcf, d_prime = map(Measure, values, intervals)
    distinct = None if others is None else len(np.unique(np.sort(others, axis=1), axis=0))
    points = [OperatingPoint(f, yes.size, no.size, identity_pairs=distinct) for f in asked if f not in fmrs]
    for fmr, tar in zip(fmrs, found, strict=True):
        threshold = metrics.threshold_at_fmr(yes, no, fmr)
        false = int((no >= threshold).sum())
        points.append(
            OperatingPoint(fmr, yes.size, no.size, tar.value, threshold, tar.interval, false, distinct)
        )
    shown = partial if enough(no.size, PARTIAL_FMR) else None
    return PairRates(auc, eer, shown, min_dcf, d_prime, tuple(points), caveats, no.size, distinct)


def _over_people(
    yes: Floats, no: Floats, ones: Ids, others: Ids, fmrs: list[float], values: list[float]
) -> list[Interval | None]:
    """Intervals of the ``values`` of AUC, EER, the TAR at each of ``fmrs``, partial AUC, minDCF and d'."""
    levels, sums, sizes = _numbered(yes, no, ones, others)
    statistics = WholeStatistics(levels, sums, fmrs)
    drawn = replicated(statistics, sizes.size)
    multiples = np.array([multiple_of(influence) for influence in statistics.influences()])
    found = log_odds_intervals(np.asarray(values[:-2]), drawn[:, :-2], multiples[:-2])
    found.append(_cost_interval(values[-2], drawn[:, -2], float(multiples[-2])))
    # the most that an error rate changes each of them by
    moves = [*[1.0] * (2 + len(fmrs)), metrics.partial_auc_scale(PARTIAL_FMR), max(costs.rate_costs())]
    people = np.unique(ones).size
    bounded = [
        _extreme(value, people, most) or interval
        for value, most, interval in zip(values[:-1], moves, found, strict=True)
    ]
    return [*bounded, _distance_interval(values[-1], drawn[:, -1], float(multiples[-1]))]


def _extreme(value: float, people: int, most: float) -> Interval | None:
    """`extreme_interval` of a number that an error rate changes by at most ``most`` times itself."""
    found, bound = extreme_interval(value, people), min(1.0, most * rule_of_three(people))
    if found is None:
        return None
    return Interval(0.0, bound, found.method) if value == 0 else Interval(1 - bound, 1.0, found.method)


def _cost_interval(value: float, drawn: Floats, multiple: float) -> Interval:
    """The interval of a minimum cost, which is biased low, since its threshold is the best for these
    identities: as `bootstrap.log_odds_intervals`, shifted up by the amount by which the replicates lie below
    it (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 10)."""
    from scipy.special import expit, logit

    room = np.minimum(drawn, 1 - drawn)
    least = float(room[room > 0].min(initial=1)) / 2
    place, places = (logit(np.clip(cost, least, 1 - least)) for cost in (value, drawn))
    centre = np.array([expit(2 * place - places.mean())])
    (found,) = log_odds_intervals(centre, drawn[:, None], multiple)
    method = "bootstrap over identities, bias corrected"
    return Interval(min(found.low, value), max(found.high, value), method)


def _distance_interval(value: float, drawn: Floats, multiple: float) -> Interval | None:
    """The interval of an unbounded number: as `bootstrap.log_odds_intervals`, but on its own scale; `None` if
    it or a replicate of it is infinite."""
    if not np.isfinite([value, *drawn]).all():
        return None
    half = multiple * float(drawn.std(ddof=1))
    return Interval(value - half, value + half, "bootstrap over identities, Student's t")


def pair_statistics(
    yes: Floats, no: Floats, ones: Ids, others: Ids, fmrs: Sequence[float]
) -> tuple[PairStatistics, Ids]:
    """AUC, EER and the TAR at each of ``fmrs`` as a function of how often each person is drawn, and
    the number of mated comparisons of each person; arguments as in `pair_rates`."""
    levels, sums, sizes = _numbered(yes, no, ones, others)
    return PairStatistics(levels, sums, fmrs), sizes


def _numbered(yes: Floats, no: Floats, ones: Ids, others: Ids) -> tuple[metrics.Levels, PairSums, Ids]:
    """The sorted scores, the number of each person, and the mated comparisons of each person."""
    people, numbers = np.unique(np.concatenate([ones, others.ravel()]), return_inverse=True)
    ones, others = numbers[: yes.size], numbers[yes.size :].reshape(-1, 2)
    sizes = np.bincount(ones, minlength=people.size)
    return metrics.levels_of(yes, no), PairSums(ones, others, people.size), sizes
