"""How poor a photo may be: found with models whose weakness is known."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from facekd.card.contract import BoxCrop, Calibration, Counts, LandmarkCrop
from facekd.preprocess import FAULTS
from facekd.preprocess.face_quality import light, noise, sharpness
from facekd.verification import find_limits, sampled
from facekd.verification.limit_search import TRIED

PEOPLE, PHOTOS = 24, 4


@pytest.fixture(scope="module")
def crops() -> tuple[list[np.ndarray], list[str]]:
    """Coarse patterns, one for each person, with some noise."""
    random = np.random.default_rng(0)
    made, labels = [], []
    for person in range(PEOPLE):
        pattern = random.integers(20, 236, (7, 7, 3))
        for _ in range(PHOTOS):
            grain = random.normal(0, 3, (112, 112, 3))
            made.append(np.clip(np.kron(pattern, np.ones((16, 16, 1))) + grain, 0, 255).astype(np.uint8))
            labels.append(f"P{person:02d}")
    return made, labels


def model(weakness) -> SimpleNamespace:
    """Tells the patterns apart by their blocks' means without the average, but a crop of which
    ``weakness`` is true looks like all others of which it is."""

    def embed(batch: np.ndarray) -> np.ndarray:
        rows = batch.reshape(len(batch), 7, 16, 7, 16, 3).mean(axis=(2, 4)).reshape(len(batch), -1)
        rows = rows - rows.mean(axis=1, keepdims=True)
        for row, crop in zip(rows, batch, strict=True):
            if weakness(crop):
                row[:] = np.arange(row.size) % 7 - 3
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return SimpleNamespace(embed=embed, spec=LandmarkCrop())


def limits_of(one: SimpleNamespace, crops, labels, entries):
    return find_limits(one.embed, one.spec, crops, labels, entries)


def entry(fmr: float = 1e-2, threshold: float = 0.6) -> Calibration:
    return Calibration(
        fmr=fmr, threshold=threshold, low=fmr / 2, high=fmr * 2, data="people", detector="none", aligner="a",
        counts=Counts(mated=144, non_mated=4416, false_matches=44, false_non_matches=0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "weakness"),
    [
        ("too_dark", lambda crop: light(crop) < 40),
        ("too_blurred", lambda crop: sharpness(crop) < 0.5),
        ("too_noisy", lambda crop: noise(crop) > 14),
    ],
)
def test_the_limit_lies_between_the_strengths_around_the_weakness(crops, reason: str, weakness) -> None:
    pixels, labels = crops
    found = limits_of(model(weakness), pixels, labels, [entry()])
    (limit,) = [limit for limit in found.limits if limit.reason == reason]
    measure = next(fault.measure for fault in FAULTS if fault.reason == reason)
    medians = [np.median([measure(crop) for crop in pixels])]
    share = [np.mean([weakness(crop) for crop in pixels])]
    for make in TRIED[reason]:
        worse = [make(crop, seed) for seed, crop in enumerate(pixels)]
        medians.append(np.median([measure(crop) for crop in worse]))
        share.append(np.mean([weakness(crop) for crop in worse]))
    # where a share s of the photos looks alike, s² of the strangers match: three times 0.01 are too many
    first = next(place for place, part in enumerate(share) if part**2 > 0.03)
    assert share[0] == 0
    assert limit.limit == pytest.approx(np.sqrt(medians[first - 1] * medians[first]))
    assert limit.refused == 0
    assert found.photos == PEOPLE * PHOTOS


def test_a_model_without_weakness_needs_no_limit(crops) -> None:
    found = limits_of(model(lambda crop: False), *crops, [entry()])
    assert found.limits == ()


def test_good_photos_that_lie_beyond_are_counted(crops) -> None:
    """Photos that are dark from the start: the model fails once they are a little darker."""
    pixels, labels = crops
    pixels = [crop // 5 if place % PHOTOS == 0 else crop for place, crop in enumerate(pixels)]
    found = limits_of(model(lambda crop: light(crop) < 100 and light(crop) > 52), pixels, labels, [entry()])
    limit = next(limit for limit in found.limits if limit.reason == "too_dark")
    assert limit.refused == sum(light(crop) < limit.limit for crop in pixels) == PEOPLE


def test_at_the_strictest_rate_that_the_photos_can_show(crops) -> None:
    """4,416 comparisons show 30 false matches at a rate of 0.0068 and above."""
    entries = [entry(1e-2, 0.6), entry(7e-3, 0.62), entry(6e-3, 0.64)]
    found = limits_of(model(lambda crop: light(crop) < 40), *crops, entries)
    assert found.entry.fmr == 7e-3
    told = limits_of(model(lambda crop: light(crop) < 40), *crops, [entry(1e-3)])
    assert told == "4,416 non-mated comparisons among 96 photos are too few"


def test_where_they_cannot_be_found(crops) -> None:
    boxes = model(lambda crop: False)
    boxes.spec = BoxCrop()
    assert "box crops" in limits_of(boxes, *crops, [entry()])
    told = limits_of(model(lambda crop: False), *crops, [entry(threshold=1.0)])
    assert told == "fewer than 30 of their mated comparisons match"


def test_a_few_photos_of_many_persons() -> None:
    labels = [f"P{person:03d}" for person in range(200) for _ in range(8)]
    labels = [None if place % 8 == 2 else label for place, label in enumerate(labels)]
    chosen = sampled(labels)
    assert chosen == sorted(set(chosen)) == sampled(labels)
    assert len(chosen) == 500
    counts = Counter(labels[place] for place in chosen)
    assert None not in counts
    assert set(counts.values()) == {5}
    assert sampled(["A", "A", None, "B"]) == [0, 1, 3]
