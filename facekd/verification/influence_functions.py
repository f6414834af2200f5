"""How far each person moves a rate or d': the first order of what drawing persons does.

A rate's influences are its derivatives by the persons' weights, where a mated comparison weighs w_i
and a non-mated one w_i * w_j. They tell what a bootstrap's replicates cannot: how many persons a rate
really rests on, and how much of the replicates' spread the product of weights put there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.verification import metrics
from facekd.verification.costs import rate_costs

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Influence:
    """How fast a rate moves with each person's weight, P >= 2: through the mated comparisons ``mated``
    [P] and through the non-mated ones ``non_mated`` [P].

    ``dyads`` [K] are the parts that the non-mated comparisons of each two persons have in it, which
    ``non_mated`` holds twice, once for either person; empty where the spread is not to shrink.
    """

    mated: Floats
    non_mated: Floats
    dyads: Floats

    def __sub__(self, other: Influence) -> Influence:
        """Of the difference of two rates, each over many comparisons of the same persons."""
        return Influence(self.mated - other.mated, self.non_mated - other.non_mated, np.empty(0))

    @property
    def freedom(self) -> float:
        """The degrees of freedom of a standard error that rests on these persons, P - 1 at most.

        A sum of squares is as uncertain as a chi square of 2 P / (k - 1) degrees, k being the
        influences' kurtosis P sum(L^4) / sum(L^2)^2 (Satterthwaite, "An approximate distribution of
        estimates of variance components", Biometrics Bulletin 1946): P where they are normal, and
        few where a few persons hold most comparisons or most errors.
        """
        squares = (self.mated + self.non_mated) ** 2
        people, total = squares.size, float(squares.sum())
        if total == 0:
            return people - 1.0
        shares = squares / total
        excess = people * float(shares @ shares) - 1
        return min(people - 1.0, 2 * people / excess) if excess > 0 else people - 1.0

    @property
    def shrinkage(self) -> float:
        """What a bootstrap's spread has to be multiplied with to be that of the rate, 1 at most.

        The variance of weights w_i * w_j counts what one non-mated pair adds by chance three times
        (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007): sum(L^2), which holds
        it for both of its persons, plus sum(D^2). It is counted once in sum(L^2) - sum(D^2) (Aronow,
        Samii and Assenova, "Cluster-robust variance estimation for dyadic data", Political Analysis
        2015). Never taken for less than where persons differ in mated comparisons alone.
        """
        squares, doubly = float(((self.mated + self.non_mated) ** 2).sum()), float(self.dyads @ self.dyads)
        if squares + doubly == 0:
            return 1.0
        once = max(squares - doubly, float(self.mated @ self.mated) + doubly)
        return min(1.0, float(np.sqrt(once / (squares + doubly))))


@dataclass(frozen=True)
class PairSums:
    """Comparisons of known persons, summed by person.

    ``ones`` [M] are the persons of the mated comparisons, ``others`` [N, 2] those of the non-mated,
    as numbers below ``people``.
    """

    ones: NDArray[np.integer]
    others: NDArray[np.integer]
    people: int

    def mated(self, values: NDArray[np.generic]) -> Floats:
        """The influences [people] of the mean of ``values`` [M]."""
        return _summed(self.ones, _shares(values), self.people)

    def non_mated(self, values: NDArray[np.generic]) -> tuple[Floats, Floats]:
        """The influences [people] of the mean of ``values`` [N], and the parts of every two persons."""
        shares = _shares(values)
        one, other = np.sort(self.others, axis=1).T
        alike = np.unique(one * self.people + other, return_inverse=True)[1]
        by_one, by_other = (_summed(side, shares, self.people) for side in (one, other))
        return by_one + by_other, _summed(alike, shares)


def auc_influence(levels: metrics.Levels, sums: PairSums) -> Influence:
    """Of the AUC: by the share of the other class that each score beats (DeLong, DeLong and
    Clarke-Pearson, Biometrics 1988; for clusters Obuchowski, Biometrics 1997).

    Without its dyads, so that nothing shrinks: of an AUC near 1 so few pairs decide that what they
    add by chance is not known well enough, and the shrunken interval holds the truth too seldom.
    """
    places = (levels.mated, levels.non_mated)
    counts = [np.bincount(place, minlength=levels.thresholds.size - 1) for place in places]
    # a tie is half beaten
    mated, non_mated = ((np.cumsum(count) - count / 2) / count.sum() for count in counts)
    by_person, _ = sums.non_mated(1 - mated[levels.non_mated])
    return Influence(sums.mated(non_mated[levels.mated]), by_person, np.empty(0))


def eer_influence(levels: metrics.Levels, curve: metrics.Roc, sums: PairSums) -> Influence:
    """Of the EER: those of FNMR and FMR at its threshold, each in the measure in which the other rate
    changes there, because the threshold gives way to the faster one."""
    place = int(np.argmin(np.abs(curve.fmr - curve.fnmr)))
    by_person, dyads = sums.non_mated(levels.non_mated >= place)
    missed, false = changes(curve, float(curve.fmr[place]), by_person)
    share = false / (missed + false) if missed + false else 0.5
    return Influence(share * sums.mated(levels.mated < place), (1 - share) * by_person, (1 - share) * dyads)


def tar_influence(levels: metrics.Levels, curve: metrics.Roc, fmr: float, sums: PairSums) -> Influence:
    """Of the TAR at ``fmr``: those of the TAR at a fixed threshold, and those of the FMR there times
    the slope of the ROC."""
    place = _place(curve, fmr)
    by_person, dyads = sums.non_mated(levels.non_mated >= place)
    missed, false = changes(curve, fmr, by_person)
    slope = missed / false if false else 0.0
    return Influence(sums.mated(levels.mated >= place), -slope * by_person, -slope * dyads)


def partial_auc_influence(
    levels: metrics.Levels, curve: metrics.Roc, highest_fmr: float, sums: PairSums
) -> Influence:
    """Of the partial AUC up to ``highest_fmr``: a mated score counts the non-mated ones that it beats among
    the highest share, a non-mated one among these the mated scores below it, less those that are missed
    in any case. Without its dyads, as `auc_influence`: even fewer pairs decide."""
    place, scale = _place(curve, highest_fmr), metrics.partial_auc_scale(highest_fmr)
    # the middle of the steps to both sides of a score: a tie is half beaten
    false, missed = ((rate[:-1] + rate[1:]) / 2 for rate in (curve.fmr, curve.fnmr))
    beaten = np.clip(highest_fmr - false, 0, None)[levels.mated]
    above = np.where(levels.non_mated >= place, missed[levels.non_mated] - curve.fnmr[place], 0)
    by_person, _ = sums.non_mated(-scale * above)
    return Influence(sums.mated(scale * beaten), by_person, np.empty(0))


def min_dcf_influence(levels: metrics.Levels, curve: metrics.Roc, sums: PairSums) -> Influence:
    """Of `costs.min_dcf`: those of its two rates at its threshold, which lies where a step to either side
    costs nothing. Without its dyads: the threshold keeps to few false matches, and what they add by
    chance is not known well enough."""
    per_miss, per_false = rate_costs()
    place = int(np.argmin(per_miss * curve.fnmr + per_false * curve.fmr))
    by_person, _ = sums.non_mated(levels.non_mated >= place)
    return Influence(per_miss * sums.mated(levels.mated < place), per_false * by_person, np.empty(0))


def d_prime_influence(levels: metrics.Levels, sums: PairSums) -> Influence:
    """Of d': a score's distance d from the mean of its class adds d / s through the mean and takes
    d' d^2 / (4 s^2) off through the variance, s being the spread. Nothing where there is no spread."""
    yes, no = (levels.thresholds[place] for place in (levels.mated, levels.non_mated))
    spread = np.sqrt((yes.var() + no.var()) / 2)
    if spread == 0 or np.ptp(yes) == 0 == np.ptp(no):
        return Influence(np.zeros(sums.people), np.zeros(sums.people), np.empty(0))
    found = (yes.mean() - no.mean()) / spread
    mated, non_mated = ((scores - scores.mean()) / spread for scores in (yes, no))
    by_person, dyads = sums.non_mated(-non_mated - found / 4 * non_mated**2)
    return Influence(sums.mated(mated - found / 4 * mated**2), by_person, dyads)


def changes(curve: metrics.Roc, fmr: float, by_person: Floats) -> tuple[float, float]:
    """How much FNMR and FMR change from two standard errors of the FMR below ``fmr`` to two above:
    over as much of ``curve`` as the threshold wanders when persons move the FMR by ``by_person``."""
    far = 2 * float(np.sqrt(by_person @ by_person))
    ends = [_place(curve, rate) for rate in (fmr - far, fmr + far)]
    missed, false = (rate[ends] for rate in (curve.fnmr, curve.fmr))
    return float(missed[0] - missed[1]), float(false[1] - false[0])


def _place(curve: metrics.Roc, fmr: float) -> int:
    """Where the smallest threshold with an FMR of at most ``fmr`` stands, the last for less than 0."""
    return min(int(np.searchsorted(-curve.fmr, -fmr - 1e-12)), curve.fmr.size - 1)


def _shares(values: NDArray[np.generic]) -> Floats:
    exact = np.asarray(values, np.float64)
    return (exact - exact.mean()) / exact.size


def _summed(places: NDArray[np.integer], values: Floats, count: int = 0) -> Floats:
    return np.asarray(np.bincount(places, values, count), np.float64)
