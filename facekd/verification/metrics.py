"""Error rates from scores: pure functions of mated and non-mated score arrays.

A comparison matches if its score is at least the threshold. The terms are those of ISO/IEC 19795-1:
the false match rate (FMR) is the share of non-mated comparisons that match, the false non-match
rate (FNMR) the share of mated ones that do not; TAR is 1 - FNMR.

Every function raises `UsageError` for scores that are not finite or an empty class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Roc:
    """Both error rates at every distinct threshold.

    ``thresholds`` [G + 1] are the distinct scores in ascending order, then infinity; along them ``fmr``
    falls from 1 to 0 and ``fnmr`` rises from 0 to 1.
    """

    thresholds: Scores
    fmr: Scores
    fnmr: Scores


def checked(scores: ArrayLike, kind: str) -> Scores:
    """``scores`` as float64 [N], N >= 1, all finite; ``kind`` names them in the error."""
    array = np.asarray(scores, np.float64)
    if array.ndim != 1:
        raise UsageError(f"{kind} scores must be one row of numbers, got shape {list(array.shape)}")
    if array.size == 0:
        raise UsageError(f"there are no {kind} scores", "Rates need mated and non-mated comparisons.")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise UsageError(
            f"{bad} of {array.size} {kind} scores are not finite",
            "Count comparisons without a score as failures to acquire.",
        )
    return array


@dataclass(frozen=True)
class Levels:
    """Sorted scores, computed once for curves with many weightings.

    ``thresholds`` [G + 1] are the distinct scores in ascending order, then infinity; ``mated`` [M] and
    ``non_mated`` [N] are the positions of each score among them.
    """

    thresholds: Scores
    mated: NDArray[np.intp]
    non_mated: NDArray[np.intp]

    def curve(
        self,
        mated_weights: NDArray[np.floating] | None = None,
        non_mated_weights: NDArray[np.floating] | None = None,
    ) -> Roc:
        """The ROC of the weighted comparisons (`None`: equal weights); each class must have weight."""
        missed = self._below(self.mated, mated_weights)
        refused = self._below(self.non_mated, non_mated_weights)
        return Roc(self.thresholds, 1 - refused / refused[-1], missed / missed[-1])

    def _below(self, place: NDArray[np.intp], weights: NDArray[np.floating] | None) -> Scores:
        at = np.bincount(place, weights, self.thresholds.size - 1)
        return np.concatenate([[0.0], np.cumsum(at)])


def levels_of(mated: ArrayLike, non_mated: ArrayLike) -> Levels:
    """The `Levels` of mated scores [M] and non-mated scores [N], with exact ties."""
    mated, non_mated = checked(mated, "mated"), checked(non_mated, "non-mated")
    levels, place = np.unique(np.concatenate([mated, non_mated]), return_inverse=True)
    return Levels(np.append(levels, np.inf), place[: mated.size], place[mated.size :])


def roc(mated: ArrayLike, non_mated: ArrayLike) -> Roc:
    """The receiver operating characteristic, with exact ties."""
    return levels_of(mated, non_mated).curve()


def auc_of(curve: Roc) -> float:
    """The area under ``curve``."""
    tar = 1 - curve.fnmr
    return float(((tar[:-1] + tar[1:]) / 2 * -np.diff(curve.fmr)).sum())


def auc(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """The probability that a mated score exceeds a non-mated one; a tie counts one half."""
    return auc_of(roc(mated, non_mated))


def partial_auc(mated: ArrayLike, non_mated: ArrayLike, highest_fmr: float) -> float:
    """The area under the ROC at FMR up to ``highest_fmr``, on the scale of `auc`: 0.5 for
    chance, 1 without errors (McClish, Medical Decision Making 1989; as scikit-learn's
    ``roc_auc_score(max_fpr=)``). Raises `UsageError` outside (0, 1].
    """
    return partial_auc_of(roc(mated, non_mated), highest_fmr)


def partial_auc_of(curve: Roc, highest_fmr: float) -> float:
    """`partial_auc` of ``curve``: exactly 1 if no mated comparison is missed at these FMRs."""
    scale = partial_auc_scale(highest_fmr)
    fmr, fnmr = curve.fmr[::-1], curve.fnmr[::-1]
    inside = int(np.searchsorted(fmr, highest_fmr, side="right"))
    # at one FMR the curve may rise: interpolate to the right of the last point inside
    edge = fnmr[-1] if inside == fmr.size else np.interp(highest_fmr, fmr[inside - 1 :], fnmr[inside - 1 :])
    x, y = np.append(fmr[:inside], highest_fmr), np.append(fnmr[:inside], edge)
    return 1 - scale * float(((y[:-1] + y[1:]) / 2 * np.diff(x)).sum())


def partial_auc_scale(highest_fmr: float) -> float:
    """The amount by which a unit of area above the ROC at FMR up to ``highest_fmr`` reduces `partial_auc`.

    McClish's (1 + (A - c) / (h - c)) / 2 is 1 - (h - A) / (2 (h - c)), where the area A is at most h and
    that of chance is c = h^2 / 2. Raises `UsageError` for h outside (0, 1].
    """
    if not 0 < highest_fmr <= 1:
        raise UsageError(f"a partial AUC needs an FMR above 0 and at most 1, not {highest_fmr:g}")
    return 1 / (2 * (highest_fmr - highest_fmr**2 / 2))


def eer_of(curve: Roc) -> float:
    """The equal error rate of ``curve``, as in `eer`."""
    gap = np.abs(curve.fmr - curve.fnmr)
    # the difference of the rates is strictly monotone, so at most two thresholds are equally near zero
    nearest = gap <= gap.min() + 1e-12
    return float(((curve.fmr + curve.fnmr) / 2)[nearest].mean())


def eer(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """(FMR + FNMR) / 2 where the two rates are nearest; the mean of both sides if those tie."""
    return eer_of(roc(mated, non_mated))


def fmr_at(non_mated: ArrayLike, threshold: float) -> float:
    """The false match rate at ``threshold``."""
    return float((checked(non_mated, "non-mated") >= threshold).mean())


def fnmr_at(mated: ArrayLike, threshold: float) -> float:
    """The false non-match rate at ``threshold``."""
    return float((checked(mated, "mated") < threshold).mean())


def allowed_false_matches(count: int, fmr: float) -> int:
    """How many of ``count`` non-mated comparisons may match at ``fmr``; raises outside (0, 1)."""
    if not 0 < fmr < 1:
        raise UsageError(f"a false match rate must be between 0 and 1, not {fmr:g}")
    # 0.3 * 10 is a little under 3 in binary
    return min(int(np.floor(count * fmr * (1 + 1e-12))), count - 1)


def threshold_above(score: float, *others: Scores) -> float:
    """The middle of the thresholds above ``score`` and at or below the next higher score
    of ``others``: all of them give the same decisions on these scores."""
    higher = [float(array[array > score].min()) for array in others if (array > score).any()]
    if not higher:
        return float(np.nextafter(score, np.inf))
    middle = (score + min(higher)) / 2
    return middle if middle > score else min(higher)


def threshold_at_fmr(mated: ArrayLike, non_mated: ArrayLike, fmr: float) -> float:
    """The smallest threshold whose false match rate is at most ``fmr``.

    Thresholds between two neighbouring scores give the same decisions; the middle of that interval is used.
    """
    mated, non_mated = checked(mated, "mated"), checked(non_mated, "non-mated")
    allowed = allowed_false_matches(non_mated.size, fmr)
    place = non_mated.size - 1 - allowed
    refused = float(np.partition(non_mated, place)[place])
    return threshold_above(refused, mated, non_mated)


def tar_at_fmr(mated: ArrayLike, non_mated: ArrayLike, fmr: float) -> float:
    """The share of mated comparisons that match at `threshold_at_fmr`."""
    return 1 - fnmr_at_fmr(mated, non_mated, fmr)


def tar_of(curve: Roc, fmr: float) -> float:
    """TAR of ``curve`` at the smallest threshold whose FMR is at most ``fmr``."""
    # FMR falls along the curve; two of its steps differ by far more than the rounding
    return float(1 - curve.fnmr[np.searchsorted(-curve.fmr, -fmr - 1e-12)])


def fnmr_at_fmr(mated: ArrayLike, non_mated: ArrayLike, fmr: float) -> float:
    """The share of mated comparisons that do not match at `threshold_at_fmr`."""
    return fnmr_at(mated, threshold_at_fmr(mated, non_mated, fmr))


def d_prime(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """The distance of the two means in units of the mean spread, Daugman's decidability (Williams, "The
    use of d' as a decidability index", Carnahan Conference on Security Technology 1996), here with
    its sign: negative if mated comparisons score lower. The spread is the square root of the mean of the
    two variances. Infinite if neither class has a spread and the means differ, 0 if they are equal.
    """
    mated, non_mated = checked(mated, "mated"), checked(non_mated, "non-mated")
    gap = mated.mean() - non_mated.mean()
    spread = np.sqrt((mated.var() + non_mated.var()) / 2)
    if np.ptp(mated) == 0 and np.ptp(non_mated) == 0:
        # rounding may give equal numbers a variance above 0
        gap, spread = mated[0] - non_mated[0], np.float64(0)
    if spread == 0:
        return float(np.copysign(np.inf, gap)) if gap else 0.0
    return float(gap / spread)


def best_threshold(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """The threshold with the most correct decisions, over every interval between scores.

    The middle of the best interval; of several equally good ones, of the widest.
    """
    mated, non_mated = checked(mated, "mated"), checked(non_mated, "non-mated")
    levels, place = np.unique(np.concatenate([mated, non_mated]), return_inverse=True)
    at_mated = np.bincount(place[: mated.size], minlength=levels.size)
    at_non_mated = np.bincount(place[mated.size :], minlength=levels.size)
    # right[g]: correct decisions for a threshold above level g - 1 and at or below level g
    right = mated.size + np.concatenate([[0], np.cumsum(at_non_mated - at_mated)])
    best = np.flatnonzero(right == right.max())
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    edges = np.concatenate([levels[:1], levels, [np.nextafter(levels[-1], np.inf)]])
    low, high = max(((edges[r[0]], edges[r[-1] + 1]) for r in runs), key=lambda e: e[1] - e[0])
    middle = (low + high) / 2
    return float(middle if middle > low else high)


@dataclass(frozen=True)
class TransactionRates:
    """The transaction error rates: the false accept rate and the false reject rate."""

    far: float
    frr: float


def with_failures(fmr: float, fnmr: float, fta: float) -> TransactionRates:
    """Transaction error rates with a failure-to-acquire rate ``fta``; a failed attempt is refused:
    FAR = FMR (1 - FTA) and FRR = FTA + FNMR (1 - FTA) (ISO/IEC 19795-1, one attempt each).

    Raises `UsageError` if one of the three is not between 0 and 1.
    """
    for rate in (fmr, fnmr, fta):
        if not 0 <= rate <= 1:
            raise UsageError(f"a rate must be between 0 and 1, not {rate:g}")
    return TransactionRates(fmr * (1 - fta), fta + fnmr * (1 - fta))
