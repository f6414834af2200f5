"""Searches by a card that states thresholds for similar people: the decision, its words, and the rate that it
keeps in galleries of such people."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from facekd.card import (
    Calibration,
    Card,
    Counts,
    EmbeddingSpec,
    GroupRate,
    InputSpec,
    LandmarkCrop,
    MeasuredGroup,
    Sample,
    SimilarPeople,
    SimilarThreshold,
)
from facekd.verification import similar_groups, tail_of_gallery
from facekd.workflows import OwnScores, search_threshold
from facekd.workflows.identify import threshold_of
from facekd.workflows.thresholds import Threshold, among_similar, doubts

DIM = 48
#: how much the people of a group have in common
COMMON = 0.3


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


CENTRES = unit(np.random.default_rng(1).normal(size=(2, DIM)))


def people(count: int, seed: int, group: int) -> np.ndarray:
    rows = np.random.default_rng([seed, group]).normal(size=(count, DIM))
    return unit(unit(rows) + COMMON * (1 - group / 2) * CENTRES[group])


def card_of(similar: SimilarPeople | None, *entries: tuple[float, float]) -> Card:
    counts = Counts(mated=10, non_mated=10_000, false_matches=10, false_non_matches=1)
    return Card(
        name="made-up", input=InputSpec(), crop=LandmarkCrop(), embedding=EmbeddingSpec(dim=DIM),
        calibration=tuple(
            Calibration(
                fmr=fmr, threshold=threshold, low=fmr / 2, high=fmr * 2, data="varied people", counts=counts,
                detector="none", aligner="none",
            )
            for fmr, threshold in entries
        ),
        similar=similar,
    )  # fmt: skip


def similar_of(
    thresholds: tuple[SimilarThreshold, ...], groups: tuple[MeasuredGroup, ...] | None = None
) -> SimilarPeople:
    plain = tuple(MeasuredGroup(name=name, people=300, pairs=44_850) for name in ("first", "second"))
    return SimilarPeople(
        thresholds=thresholds, groups=groups or plain, data="strangers",
        sample=Sample(people=600, photos=600, digest="0"), detector="mtcnn", aligner="arcface", date="",
    )  # fmt: skip


def one(fmr: float, threshold: float) -> SimilarThreshold:
    return SimilarThreshold(
        fmr=fmr, threshold=threshold, low=fmr / 10, high=fmr * 2, group="first", people=300, pairs=44_850
    )


CARD = card_of(similar_of((one(1e-2, 0.4), one(1e-3, 0.5))), (1e-2, 0.3), (1e-3, 0.4), (1e-4, 0.5))


@pytest.mark.parametrize(("size", "fpir", "value"), [(1, 1e-2, 0.4), (10, 1e-2, 0.5), (10, 0.1, 0.4)])
def test_the_thresholds_for_similar_people_decide(size: int, fpir: float, value: float) -> None:
    found = search_threshold(CARD, None, size, fpir)
    fmr = 1e-2 if value == 0.4 else 1e-3
    assert (found.source, found.value) == ("card", value)
    assert found.low == pytest.approx(1 - (1 - fmr / 10) ** size)
    assert found.high == pytest.approx(1 - (1 - 2 * fmr) ** size)
    told = found.to_dict()
    assert told["population"] == {
        "fmr": fmr, "similar": True, "data": "strangers", "group": "first", "people": 300
    }  # fmt: skip
    assert (
        told["data"] == f"FMR {fmr:g} among similar people (strangers: 300 people of the worst group, first)"
    )
    # how these were measured, not the others
    (note,) = doubts(threshold_of(CARD.similar, found), "none")
    assert "detector mtcnn and aligner arcface" in note


def test_what_would_be_enough_is_told_of_similar_people() -> None:
    found = search_threshold(CARD, None, 11, 1e-2)
    assert found.value is None
    assert "reaches to FMR 0.001 among similar people, enough for 10 people" in found.shortfall
    assert "to FMR 0.0001 for up to 100 whose own scores show that they are varied" in found.shortfall
    assert found.shortfall.endswith("with 11 people, --fpir 0.02 is possible")
    assert search_threshold(CARD, None, 11, 0.02).value == 0.5
    varied = search_threshold(card_of(None, (1e-3, 0.4), (1e-4, 0.5)), None, 11, 1e-2)
    assert (varied.value, varied.to_dict()["population"]["similar"]) == (0.5, False)
    assert varied.data == "FMR 0.0001 on varied people"


def test_people_more_similar_than_those_contradict_it() -> None:
    names = [f"P{number}" for number in range(10)]
    rows = np.random.default_rng(0).normal(size=(10, DIM))
    for common, source in ((0.0, "card"), (1.0, "none")):
        own = OwnScores(tail_of_gallery(names, unit(unit(rows) + common * CENTRES[0])), 10)
        found = search_threshold(CARD, own, 10, 1e-2)
        assert found.source == source
    assert "the FMR 0.001 of the card does not hold for these people: " in found.shortfall


def in_common(common: float, size: int) -> OwnScores:
    """The scores of a gallery of people who share so much."""
    rows = unit(np.random.default_rng(size).normal(size=(size, DIM)))
    names = [f"P{number}" for number in range(size)]
    return OwnScores(tail_of_gallery(names, unit(rows + common * CENTRES[0])), size)


def test_beyond_their_reach_the_gallery_must_show_that_its_people_are_varied() -> None:
    """The bound by its own scores: no pair of n (n - 1) / 2 reaches the threshold, so by the rule of three at
    most three would, and a search makes n comparisons."""
    for size in (60, 100):
        found = search_threshold(CARD, in_common(0, size), size, 1e-2)
        assert (found.source, found.value, found.fpir) == ("card", 0.5, 1e-2)
        assert found.low == pytest.approx(1 - (1 - 5e-5) ** size)
        assert found.high == pytest.approx(1 - (1 - 3 / (size * (size - 1) / 2)) ** (size - 1), rel=0.03)
        assert not found.population.similar
        assert found.data.endswith(f"varied people, as far as the gallery's own {size} people can tell")
    # too few people for that, nobody compared, and people who are similar
    for own, size in ((in_common(0, 50), 50), (None, 100), (in_common(0.6, 100), 100)):
        found = search_threshold(CARD, own, size, 1e-2)
        assert (found.source, found.value) == ("none", None)
    assert "does not hold for these people" in found.shortfall


def test_scores_that_end_above_the_threshold_contradict_it() -> None:
    found = search_threshold(card_of(None, (1e-5, 0.3)), in_common(1.5, 400), 400, 1e-2)
    assert found.value is None
    assert "does not hold for these people: at least " in found.shortfall


def test_the_rate_is_kept_in_a_small_gallery_of_similar_people() -> None:
    """Measured on other people of the group: galleries of ten, twenty of them, and 3,000 strangers."""
    rows = np.concatenate([people(600, 0, 0), people(600, 0, 1)])
    groups = similar_groups(
        rows, [f"P{number}" for number in range(1200)], ["alike"] * 600 + ["others"] * 600
    )
    card = card_of(similar_of(groups.thresholds()), (1e-2, 0.34), (1e-3, 0.44))
    strangers, kept, kept_by_varied = people(3000, 7, 0), [], []
    rule = search_threshold(card, None, 10, 0.1)
    varied = search_threshold(card_of(None, (1e-2, 0.34)), None, 10, 0.1)
    for seed in range(20):
        highest = (strangers @ people(10, 100 + seed, 0).T).max(axis=1)
        kept.append((highest >= rule.value).mean())
        kept_by_varied.append((highest >= varied.value).mean())
    # people have unequal numbers of lookalikes, so the mean is compared; its error is about a hundredth
    assert rule.low < np.mean(kept) < rule.high
    assert np.mean(kept) == pytest.approx(0.1, abs=0.03)
    assert np.mean(kept_by_varied) > varied.high


def test_a_claim_says_what_its_rate_is_among_similar_people() -> None:
    rates = [
        GroupRate(fmr=1e-3, threshold=0.4, rate=rate, low=rate / 2, high=rate * 2)
        for rate in (0.004, 0.02, 1e-3)
    ]
    groups = tuple(
        MeasuredGroup(name=f"group {place}", people=300, pairs=44_850, rates=(rate,))
        for place, rate in enumerate(rates)
    )
    card = card_of(similar_of((one(1e-2, 0.4),), groups), (1e-3, 0.4))
    asked = Threshold(0.4, "card", 1e-3)
    assert among_similar(card, asked) == [
        "FMR 0.001 holds for varied people; among similar ones it is up to 0.02 at this threshold "
        "(group 1 in strangers)"
    ]
    for quiet in (Threshold(0.4, "gallery", 1e-3), Threshold(0.41, "card", 1e-3), Threshold(0.4, "option")):
        assert among_similar(card, quiet) == []
    assert among_similar(SimpleNamespace(similar=None), asked) == []
