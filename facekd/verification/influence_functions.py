"""How much each person moves a rate or d': the first-order effect of resampling people.

The influences on a rate are its derivatives by the people's weights, where a mated comparison is weighted
by w_i and a non-mated one by w_i * w_j. They give what a bootstrap's replicates cannot: how many people a
rate really rests on, and how much of the replicates' spread comes from the product of weights.
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
    """The derivative of a rate by each person's weight, P >= 2: through the mated comparisons ``mated``
    [P] and through the non-mated ones ``non_mated`` [P].

    ``dyads`` [K] are the contributions of the non-mated comparisons of each two people, which
    ``non_mated`` contains twice, once for either person; empty if the spread must not be shrunk.
    """

    mated: Floats
    non_mated: Floats
    dyads: Floats

    def __sub__(self, other: Influence) -> Influence:
        """The influence on the difference of two rates, each over many comparisons of the same people."""
        return Influence(self.mated - other.mated, self.non_mated - other.non_mated, np.empty(0))

    @property
    def freedom(self) -> float:
        """The degrees of freedom of a standard error that rests on these people, at most P - 1.

        A sum of squares is as uncertain as a chi square of 2 P / (k - 1) degrees, where k is the
        kurtosis P sum(L^4) / sum(L^2)^2 of the influences (Satterthwaite, "An approximate distribution of
        estimates of variance components", Biometrics Bulletin 1946): P if they are normal, and
        few if a few people have most comparisons or most errors.
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
        """The factor, at most 1, from a bootstrap's spread to that of the rate.

        The variance with weights w_i * w_j counts the random contribution of a non-mated pair three times
        (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007): sum(L^2), which contains
        it for both of its people, plus sum(D^2). It is counted once in sum(L^2) - sum(D^2) (Aronow,
        Samii and Assenova, "Cluster-robust variance estimation for dyadic data", Political Analysis
        2015). At least the factor for people who differ in mated comparisons only.
        """
        squares, doubly = float(((self.mated + self.non_mated) ** 2).sum()), float(self.dyads @ self.dyads)
        if squares + doubly == 0:
            return 1.0
        once = max(squares - doubly, float(self.mated @ self.mated) + doubly)
        return min(1.0, float(np.sqrt(once / (squares + doubly))))


@dataclass(frozen=True)
class PairSums:
    """Sums over the comparisons of known people, by person.

    ``ones`` [M] are the people of the mated comparisons, ``others`` [N, 2] those of the non-mated,
    as numbers below ``people``.
    """

    ones: NDArray[np.integer]
    others: NDArray[np.integer]
    people: int

    def mated(self, values: NDArray[np.generic]) -> Floats:
        """The influences [people] of the mean of ``values`` [M]."""
        return _summed(self.ones, _shares(values), self.people)

    def non_mated(self, values: NDArray[np.generic]) -> tuple[Floats, Floats]:
        """The influences [people] on the mean of ``values`` [N], and the contribution of every two people."""
        shares = _shares(values)
        one, other = np.sort(self.others, axis=1).T
        alike = np.unique(one * self.people + other, return_inverse=True)[1]
        by_one, by_other = (_summed(side, shares, self.people) for side in (one, other))
        return by_one + by_other, _summed(alike, shares)


def auc_influence(levels: metrics.Levels, sums: PairSums) -> Influence:
    """On the AUC: from the share of the other class that each score exceeds (DeLong, DeLong and
    Clarke-Pearson, Biometrics 1988; for clusters Obuchowski, Biometrics 1997).

    Without dyads, so that nothing is shrunk: an AUC near 1 depends on so few pairs that their random
    contribution is not known well enough, and a shrunken interval would contain the truth too seldom.
    """
    places = (levels.mated, levels.non_mated)
    counts = [np.bincount(place, minlength=levels.thresholds.size - 1) for place in places]
    # a tie counts one half
    mated, non_mated = ((np.cumsum(count) - count / 2) / count.sum() for count in counts)
    by_person, _ = sums.non_mated(1 - mated[levels.non_mated])
    return Influence(sums.mated(non_mated[levels.mated]), by_person, np.empty(0))


def eer_influence(levels: metrics.Levels, curve: metrics.Roc, sums: PairSums) -> Influence:
    """On the EER: those of FNMR and FMR at its threshold, each weighted by the rate of change of the other
    rate there, since the threshold moves towards the one that changes faster."""
    place = int(np.argmin(np.abs(curve.fmr - curve.fnmr)))
    by_person, dyads = sums.non_mated(levels.non_mated >= place)
    missed, false = changes(curve, float(curve.fmr[place]), by_person)
    share = false / (missed + false) if missed + false else 0.5
    return Influence(share * sums.mated(levels.mated < place), (1 - share) * by_person, (1 - share) * dyads)


def tar_influence(levels: metrics.Levels, curve: metrics.Roc, fmr: float, sums: PairSums) -> Influence:
    """On the TAR at ``fmr``: the influence on the TAR at a fixed threshold, plus that on the FMR there times
    the slope of the ROC."""
    place = _place(curve, fmr)
    by_person, dyads = sums.non_mated(levels.non_mated >= place)
    missed, false = changes(curve, fmr, by_person)
    slope = missed / false if false else 0.0
    return Influence(sums.mated(levels.mated >= place), -slope * by_person, -slope * dyads)


def partial_auc_influence(
    levels: metrics.Levels, curve: metrics.Roc, highest_fmr: float, sums: PairSums
) -> Influence:
    """On the partial AUC up to ``highest_fmr``: a mated score counts the non-mated scores below it within
    the highest share, a non-mated one of these the mated scores below it, minus those that are missed
    in any case. Without dyads, as in `auc_influence`: it depends on even fewer pairs."""
    place, scale = _place(curve, highest_fmr), metrics.partial_auc_scale(highest_fmr)
    # the mean of the step functions from both sides of a score: a tie counts one half
    false, missed = ((rate[:-1] + rate[1:]) / 2 for rate in (curve.fmr, curve.fnmr))
    beaten = np.clip(highest_fmr - false, 0, None)[levels.mated]
    above = np.where(levels.non_mated >= place, missed[levels.non_mated] - curve.fnmr[place], 0)
    by_person, _ = sums.non_mated(-scale * above)
    return Influence(sums.mated(scale * beaten), by_person, np.empty(0))


def min_dcf_influence(levels: metrics.Levels, curve: metrics.Roc, sums: PairSums) -> Influence:
    """On `costs.min_dcf`: those on its two rates at its threshold, where the cost is stationary.
    Without dyads: only few false matches remain at that threshold, and their random contribution is not
    known well enough."""
    per_miss, per_false = rate_costs()
    place = int(np.argmin(per_miss * curve.fnmr + per_false * curve.fmr))
    by_person, _ = sums.non_mated(levels.non_mated >= place)
    return Influence(per_miss * sums.mated(levels.mated < place), per_false * by_person, np.empty(0))


def d_prime_influence(levels: metrics.Levels, sums: PairSums) -> Influence:
    """On d': the distance d of a score from the mean of its class adds d / s through the mean and subtracts
    d' d^2 / (4 s^2) through the variance, where s is the spread. Zero without a spread."""
    yes, no = (levels.thresholds[place] for place in (levels.mated, levels.non_mated))
    spread = np.sqrt((yes.var() + no.var()) / 2)
    if spread == 0 or np.ptp(yes) == 0 == np.ptp(no):
        return Influence(np.zeros(sums.people), np.zeros(sums.people), np.empty(0))
    found = (yes.mean() - no.mean()) / spread
    mated, non_mated = ((scores - scores.mean()) / spread for scores in (yes, no))
    by_person, dyads = sums.non_mated(-non_mated - found / 4 * non_mated**2)
    return Influence(sums.mated(mated - found / 4 * mated**2), by_person, dyads)


def changes(curve: metrics.Roc, fmr: float, by_person: Floats) -> tuple[float, float]:
    """The change of FNMR and of FMR from two standard errors of the FMR below ``fmr`` to two above:
    over the part of ``curve`` in which the threshold moves when people move the FMR by ``by_person``."""
    far = 2 * float(np.sqrt(by_person @ by_person))
    ends = [_place(curve, rate) for rate in (fmr - far, fmr + far)]
    missed, false = (rate[ends] for rate in (curve.fnmr, curve.fmr))
    return float(missed[0] - missed[1]), float(false[1] - false[0])


def _place(curve: metrics.Roc, fmr: float) -> int:
    """The position of the smallest threshold with an FMR of at most ``fmr``; the last for a negative one."""
    return min(int(np.searchsorted(-curve.fmr, -fmr - 1e-12)), curve.fmr.size - 1)


def _shares(values: NDArray[np.generic]) -> Floats:
    exact = np.asarray(values, np.float64)
    return (exact - exact.mean()) / exact.size


def _summed(places: NDArray[np.integer], values: Floats, count: int = 0) -> Floats:
    return np.asarray(np.bincount(places, values, count), np.float64)
