"""Differences between models in a rate, with intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification.bootstrap import difference_bootstrap, effective_number, students_multiple
from facekd.verification.influence_functions import Influence
from facekd.verification.intervals import Interval, rule_of_three
from facekd.verification.kept_scores import KeptScores
from facekd.verification.results import ACCURACY, Difference

Floats = NDArray[np.float64]


def tar_difference(reference: KeptScores, other: KeptScores, fmr: float) -> Difference:
    """The difference of two models' TAR at ``fmr`` over all pairs of the same photos, each model
    at its own threshold, which is found again in every replicate.

    Each TAR is over the comparisons that its model completed. Raises `UsageError` as
    `KeptScores.tar_at` and `difference_bootstrap` do.
    """
    both = (reference, other)
    names = np.union1d(reference.names, other.names)
    places = [np.searchsorted(names, pairs.names) for pairs in both]
    tars = [pairs.drawn_tar(fmr) for pairs in both]
    theirs, ours = (
        _among(names.size, place, pairs.tar_influence(fmr)) for pairs, place in zip(both, places, strict=True)
    )

    def difference(weights: Floats) -> list[float]:
        theirs, ours = (tar(weights[place]) for tar, place in zip(tars, places, strict=True))
        return [ours - theirs]

    value = other.tar_at(fmr) - reference.tar_at(fmr)
    interval = difference_bootstrap(difference, names.size, influences=[ours - theirs])[0]
    return Difference(f"TAR@FMR {fmr:g}, all pairs", value, _with_width(value, interval, names.size))


def _among(people: int, place: NDArray[np.intp], influence: Influence) -> Influence:
    """``influence`` of people at the positions ``place`` among ``people``; zero for the others."""
    mated, non_mated = np.zeros((2, people))
    mated[place], non_mated[place] = influence.mated, influence.non_mated
    return Influence(mated, non_mated, influence.dyads)


def accuracy_difference(
    reference: NDArray[np.bool_],
    other: NDArray[np.bool_],
    mated: NDArray[np.bool_],
    people: NDArray[np.int64],
) -> Difference:
    """The difference of two models' shares of correct decisions on the same listed pairs.

    ``reference`` and ``other`` [P] say which comparisons each decided correctly, ``people`` [P, 2] are
    the two people of each. Thresholds are fixed, and so are the shares of mated and non-mated
    pairs, which the authors of the list chose. The interval is Student's with `clustered_error`: in a list
    most people occur in only a few non-mated pairs, and resampling people, which weights a pair by a
    product, would make the interval of a mean up to 1.7 times too wide.

    Raises `UsageError` with fewer than two people.
    """
    persons, numbers = np.unique(people, return_inverse=True)
    if persons.size < 2:
        raise UsageError("a difference over identities needs at least two of them")
    ends = numbers.reshape(-1, 2)
    gain = other.astype(np.float64) - reference
    value = float(gain.mean())
    for kind in (mated, ~mated):
        gain[kind] -= gain[kind].mean() if kind.any() else 0.0
    sizes = np.bincount(ends[:, 0], minlength=persons.size)
    sizes += np.bincount(ends[ends[:, 0] != ends[:, 1], 1], minlength=persons.size)
    half = students_multiple(effective_number(sizes)) * clustered_error(gain, ends)
    interval = Interval(max(-1.0, value - half), min(1.0, value + half), "t over identities")
    return Difference(ACCURACY, value, _with_width(value, interval, persons.size))


def clustered_error(deviations: Floats, ends: NDArray[np.integer]) -> float:
    """The standard error of a mean over pairs [P] of people ``ends`` [P, 2], where pairs that
    share a person are dependent: the square root of the sum, over all such pairs of pairs, of the product
    of their ``deviations`` [P] from the mean, divided by P (Aronow, Samii and Assenova, "Cluster-robust
    variance estimation for dyadic data", Political Analysis 2015). At least that of independent pairs.
    """
    one, other = np.sort(ends, axis=1).T
    apart = one != other
    of_person = np.bincount(one, deviations, ends.max() + 1)
    of_person += np.bincount(other[apart], deviations[apart], ends.max() + 1)
    # pairs of the same two people were counted for both of them
    alike = np.unique(np.stack([one, other])[:, apart], axis=1, return_inverse=True)[1]
    twice = np.bincount(alike, deviations[apart])
    total = of_person @ of_person - twice @ twice
    return float(np.sqrt(max(total, deviations @ deviations)) / deviations.size)


def _with_width(value: float, interval: Interval, people: int) -> Interval:
    """If the models never differ, three divided by the number of people bounds the unseen difference
    on both sides."""
    if interval.high - interval.low > 1e-12:
        return interval
    bound = rule_of_three(people)
    return Interval(max(-1.0, value - bound), min(1.0, value + bound), "rule of three over identities")
