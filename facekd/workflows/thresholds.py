"""What a score means: the threshold that decides, why it may not hold, and the evidence by the score map."""

from __future__ import annotations

from dataclasses import dataclass

from facekd.card import Card, ScoreMap
from facekd.errors import UsageError
from facekd.preprocess import ALIGNER
from facekd.verification import log_likelihood_ratio, probability


@dataclass(frozen=True)
class Threshold:
    """The lowest score that counts as the same person. ``source`` is "option", "card" or "gallery" (the
    scores between the people of a gallery). The last two state the false match rate at which it was
    measured, and on which data, with which detector and aligner."""

    value: float
    source: str
    fmr: float | None = None
    data: str = ""
    detector: str = ""
    aligner: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a score means by the card's score map: the natural ``log_likelihood_ratio`` of the same person
    against different people, and the ``probability`` of the same person if both are equally likely a
    priori."""

    log_likelihood_ratio: float
    probability: float


def choose_threshold(card: Card, threshold: float | None = None, fmr: float | None = None) -> Threshold:
    """The given ``threshold``, otherwise the card's calibrated one at ``fmr``, otherwise its strictest.

    Raises `UsageError` if there is none: no threshold holds for every model.
    """
    if threshold is not None:
        if fmr is not None:
            raise UsageError("--threshold and --fmr cannot be combined", "Give one of them.")
        if not -1 <= threshold <= 1:  # also refuses NaN
            raise UsageError(f"--threshold: {threshold:g} is not a cosine, from -1 to 1")
        return Threshold(threshold, "option")
    found = card.at(fmr)
    if found is not None:
        return Threshold(found.threshold, "card", found.fmr, found.data, found.detector, found.aligner)
    if card.calibration:
        known = ", ".join(f"{entry.fmr:g}" for entry in card.calibration)
        raise UsageError(f"{card.name} has no threshold at FMR {fmr:g}", f"It has thresholds at: {known}.")
    raise UsageError(
        f"no threshold is known: {card.name} is not calibrated",
        "Give --threshold, or calibrate the model: facekd calibrate MODEL --data PEOPLE.",
    )


def doubts(threshold: Threshold, detector: str, score_map: ScoreMap | None = None) -> list[str]:
    """Why a calibrated threshold, and the probability, may not hold here, in one note or none: the crops were
    prepared in another way when they were measured."""
    measured: dict[tuple[str, str], list[tuple[str, str]]] = {}
    if threshold.source == "card":
        then = (threshold.detector, threshold.aligner)
        measured.setdefault(then, []).append(("the threshold was calibrated", "the false match rate"))
    if score_map is not None:
        then = (score_map.detector, score_map.aligner)
        measured.setdefault(then, []).append(("the score map was fitted", "the probability"))
    here = {"detector": detector, "aligner": ALIGNER}
    how: list[str] = []
    doubtful: list[str] = []
    differing: set[str] = set()
    for then, what in measured.items():
        other = {part: was for part, was in zip(here, then, strict=True) if was != here[part]}
        if other:
            parts = " and ".join(f"{part} {was}" for part, was in other.items())
            how.append(" and ".join(done for done, _ in what) + f" with {parts}")
            doubtful += [value for _, value in what]
            differing |= other.keys()
    if not how:
        return []
    this = " and ".join(now for part, now in here.items() if part in differing)
    return [f"{'; '.join(how)}; this is {this}: {' and '.join(doubtful)} may differ"]


def among_similar(card: Card, threshold: Threshold) -> list[str]:
    """What the card's ``threshold`` means for a claim by somebody who resembles the person, in one note: the
    false match rate in the worst group of similar people. None if the card does not state it, or if it is
    within the rate of the threshold."""
    if card.similar is None or threshold.source != "card":
        return []
    rates = [
        (rate, group)
        for group in card.similar.groups
        for rate in group.rates
        if rate.threshold == threshold.value and threshold.fmr is not None and rate.low > threshold.fmr
    ]
    if not rates:
        return []
    worst, group = max(rates, key=lambda one: one[0].rate)
    return [
        f"FMR {threshold.fmr:g} holds for varied people; among similar ones it is up to {worst.rate:.2g} at "
        f"this threshold ({group.name} in {card.similar.data})"
    ]


def evidence(card: Card, score: float) -> Evidence | None:
    """The evidence of ``score`` by the score map of ``card``; `None` without one."""
    if card.score_map is None:
        return None
    ratio = float(log_likelihood_ratio(card.score_map.curve, score))
    return Evidence(ratio, float(probability(ratio)))
