"""FAR and FRR of whole attempts, counted again with a score below all others for what failed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from facekd.reporting import results_table, table, table_rows
from facekd.verification.gallery_rates import judge_gallery
from facekd.verification.intervals import Interval
from facekd.verification.known_people import judge_people
from facekd.verification.operating_points import Lost, OperatingPoint, whole_attempts
from facekd.verification.protocols import open_protocol
from facekd.verification.score_lists import judge_scores

PEOPLE, EACH, DIM = 52, 5, 16


@pytest.fixture(scope="module")
def embedded() -> tuple[np.ndarray, list[str]]:
    """52 persons of five photos; seven photos gave no embedding, three of them of one person."""
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(PEOPLE), EACH)
    rows = random.normal(size=(PEOPLE, DIM))[people] + random.normal(size=(people.size, DIM))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[[0, 1, 2, 33, 77, 120, 199]] = np.nan
    return rows.astype(np.float32), [f"P{person:02d}" for person in people]


def _counted(told: dict, scores: np.ndarray, mated: np.ndarray) -> int:
    """Check each operating point of ``told`` against all ``scores`` [P] that were asked for, -inf for
    what failed; how many there are."""
    points = [point for point in told["operating_points"] if point["tar"] is not None]
    assert [found["fmr"] for found in told["whole_attempts"]] == [point["fmr"] for point in points]
    for point, found in zip(points, told["whole_attempts"], strict=True):
        accepted = scores >= point["threshold"]
        assert found["far"] == pytest.approx(accepted[~mated].mean(), abs=1e-9)
        assert found["frr"] == pytest.approx((~accepted[mated]).mean(), abs=1e-9)
        assert found["fta_mated"] == pytest.approx(np.isinf(scores[mated]).mean(), abs=1e-9)
        assert found["fta_non_mated"] == pytest.approx(np.isinf(scores[~mated]).mean(), abs=1e-9)
        done = np.isfinite(scores) & mated
        assert point["fnmr"] == pytest.approx((~accepted[done]).mean(), abs=1e-9)
        assert (point["fnmr_interval"]["low"], point["fnmr_interval"]["high"]) == pytest.approx(
            (1 - point["interval"]["high"], 1 - point["interval"]["low"])
        )
    return len(points)


def _compared(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    scores = np.einsum("nd,nd->n", rows.astype(float), others.astype(float))
    return np.where(np.isnan(scores), -np.inf, scores)


def _all_pairs(rows: np.ndarray, people: list[str]) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.triu_indices(len(rows), 1)
    return _compared(rows[one], rows[other]), np.array(people)[one] == np.array(people)[other]


def test_people(embedded: tuple) -> None:
    rows, people = embedded
    result = judge_people("people", "x", rows, people, len(rows), ["a"] * 7)
    told = json.loads(json.dumps(result.to_dict()))
    assert _counted(told, *_all_pairs(rows, people)) == 2
    titles = dict(table_rows(result))
    found, _ = told["whole_attempts"]
    cell = f"{100 * found['far']:.3g}, {100 * found['frr']:.2f}"
    assert titles["FAR, FRR at FMR 0.01, all pairs"] == cell
    there = ~np.isnan(rows).any(axis=1)
    whole = judge_people("people", "x", rows[there], list(np.array(people)[there]), int(there.sum()), ())
    assert [point.fmr for point in whole.points if point.tar is not None] == [1e-2, 1e-3]
    assert not any(title.startswith("FAR") for title, _ in table_rows(whole))
    # beside a model that lost nothing
    file = io.StringIO()
    Console(file=file, width=120).print(results_table({"whole": whole, "some": result}))
    (line,) = [line for line in file.getvalue().splitlines() if "FAR, FRR at FMR 0.01," in line]
    assert line.split("all pairs")[1].split() == ["-", *cell.split()]


def test_listed_pairs_and_all_pairs_of_their_photos(embedded: tuple, tmp_path: Path) -> None:
    rows, people = embedded
    names = [f"{person}/{number}.jpg" for number, person in enumerate(people)]
    random = np.random.default_rng(1)
    one = np.concatenate([np.arange(len(rows) - 1), random.integers(len(rows), size=6000)])
    other = np.concatenate([np.arange(1, len(rows)), random.integers(len(rows), size=6000)])
    pairs = [
        f"{names[a]},{names[b]},{int(people[a] == people[b])}"
        for a, b in zip(one.tolist(), other.tolist(), strict=True)
        if a != b
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *pairs]))
    protocol = open_protocol("pairs", tmp_path / "pairs.csv")
    place = dict(zip(names, rows, strict=True))
    result = protocol.evaluate(lambda asked: np.stack([place[name] for name in asked]))
    told = json.loads(json.dumps(result.to_dict()))
    scores = _compared(
        *(
            np.stack([place[n] for n in side])
            for side in zip(*[(p.first, p.second) for p in protocol.pairs], strict=True)
        )
    )
    assert _counted(told, scores, np.array([pair.mated for pair in protocol.pairs])) == 1
    assert _counted(told["all_pairs"], *_all_pairs(rows, people)) == 1
    titles = [title for title, _ in table_rows(result) if title.startswith("FAR")]
    assert titles == ["FAR, FRR at FMR 0.01, listed pairs", "FAR, FRR at FMR 0.001, all pairs"]
    for name in ("auc", "eer", "partial_auc", "min_dcf", "d_prime"):
        assert told[name]["interval"]["low"] < told[name]["value"] < told[name]["interval"]["high"]


def test_enrolled_people(embedded: tuple) -> None:
    rows, people = embedded
    enrolled = sorted(set(people))[:30]
    random = np.random.default_rng(2)
    templates = random.normal(size=(30, DIM))
    for place, person in enumerate(enrolled):
        templates[place] = np.nanmean(rows[[p == person for p in people]], axis=0)
    templates = (templates / np.linalg.norm(templates, axis=1, keepdims=True)).astype(np.float32)
    result = judge_gallery(templates, enrolled, rows, people, people)
    told = json.loads(json.dumps(result.to_dict()))
    probe, template = (side.ravel() for side in np.indices((len(rows), 30)))
    mated = np.array(people)[probe] == np.array(enrolled)[template]
    scores = _compared(rows[probe], templates[template])
    assert _counted(told, scores, mated) == 1
    lost = np.isinf(scores)
    assert told["comparisons"]["failed_mated"] == (lost & mated).sum() == 6
    assert told["comparisons"]["failed_non_mated"] == (lost & ~mated).sum()
    file = io.StringIO()
    Console(file=file, width=120).print(table(result))
    assert "FAR, FRR at FMR 0.01" in file.getvalue()


def test_scores_that_another_system_wrote() -> None:
    random = np.random.default_rng(3)
    mated = np.arange(8000) < 2000
    scores = np.where(mated, 3.0, 0.0) + random.normal(size=8000)
    scores[random.random(8000) < 0.05] = np.nan
    told = judge_scores("scores", "s.csv", scores, mated).to_dict()
    assert _counted(told, np.where(np.isnan(scores), -np.inf, scores), mated) == 1


def test_by_hand_and_without_a_number() -> None:
    none = OperatingPoint(1e-4, 80, 900)
    point = OperatingPoint(0.01, 80, 900, 0.75, 0.3, Interval(0.7, 0.9, "Wilson"), 9)
    (found,) = whole_attempts([none, point], Lost(20, 100))
    # of 100 mated attempts 20 fail and 20 do not match; of 1,000 others 9 match
    assert (found.far, found.frr) == pytest.approx((0.009, 0.4))
    assert found.to_dict() == pytest.approx(
        {"fmr": 0.01, "far": 0.009, "frr": 0.4, "fta_mated": 0.2, "fta_non_mated": 0.1}
    )
    (whole,) = whole_attempts([point], Lost(0, 0))
    assert (whole.far, whole.frr) == pytest.approx((0.01, 0.25))
    mirrored = point.fnmr_interval
    assert mirrored is not None
    assert (mirrored.low, mirrored.high, mirrored.method) == (
        pytest.approx(0.1),
        pytest.approx(0.3),
        "Wilson",
    )
    assert (none.fnmr, none.fnmr_interval) == (None, None)
    assert (none.to_dict()["fnmr"], none.to_dict()["fnmr_interval"]) == (None, None)
