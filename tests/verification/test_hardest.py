"""The hardest comparisons, found again by sorting all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facekd.reporting import hardest_figure
from facekd.verification.hardest import hardest_listed, hardest_of_all, hardest_pairs
from facekd.verification.protocols import open_protocol
from facekd.verification.protocols.identification import Identification
from facekd.verification.protocols.people import People
from facekd.verification.protocols.templates import MediaTemplate, Templates
from facekd.verification.results.hardest import HardPair, ShownPair

NAMES = [f"P{p}/{n}.png" for p in range(12) for n in range(5)]
WHO = [name[: name.index("/")] for name in NAMES]


def _rows(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(12, 8)).repeat(5, axis=0) + random.normal(0, 0.8, (60, 8))
    rows[7] = rows[33] = np.nan
    return rows.astype(np.float32)


def _all(rows: np.ndarray) -> list[tuple[float, bool, str, str]]:
    found = []
    for one in range(len(rows)):
        for other in range(one + 1, len(rows)):
            a, b = rows[one].astype(float), rows[other].astype(float)
            score = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            if np.isfinite(score):
                found.append((float(score), WHO[one] == WHO[other], NAMES[one], NAMES[other]))
    return found


@pytest.mark.parametrize("count", [1, 4, 6, 2000])
def test_of_all_comparisons(count: int) -> None:
    rows = _rows()
    every = _all(rows)
    mated = sorted(pair for pair in every if pair[1])[:count]
    non_mated = sorted((pair for pair in every if not pair[1]), reverse=True)[:count]
    found = hardest_of_all(rows, WHO, NAMES, count)
    assert [(p.mated, p.first, p.second) for p in found] == [(m, a, b) for _, m, a, b in mated + non_mated]
    assert [p.score for p in found] == pytest.approx([s for s, *_ in mated + non_mated], abs=1e-6)
    assert all(p.photos == (p.first, p.second) for p in found)


def test_of_listed_comparisons() -> None:
    compared = [(f"a{n}", f"b{n}") for n in range(6)]
    scores = np.array([0.5, np.nan, 0.1, 0.4, 0.1, -0.2])
    mated = np.array([True, True, True, False, True, False])
    found = hardest_listed(compared, scores, mated, 2, {"a2": "photo.jpg"})
    # of two that are equally hard the first comes first; the failed one has no score
    assert [(p.first, p.mated, p.score) for p in found] == [
        ("a2", True, 0.1), ("a4", True, 0.1), ("a3", False, 0.4), ("a5", False, -0.2),
    ]  # fmt: skip
    assert found[0].photos == ("photo.jpg", "b2")
    assert hardest_listed([], np.empty(0), np.empty(0, bool)) == ()


def test_of_a_list_of_pairs(tmp_path: Path) -> None:
    pairs = [f"{NAMES[n]},{NAMES[n + 1]},1" for n in range(0, 60, 5)]
    pairs += [f"{NAMES[n]},{NAMES[(n + 5) % 60]},0" for n in range(0, 60, 5)]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *pairs]))
    protocol, rows = open_protocol("pairs", tmp_path / "pairs.csv"), _rows()
    rows = rows[[NAMES.index(name) for name in protocol.photos]]
    result = protocol.evaluate(lambda photos: rows)
    found = hardest_pairs(protocol, result, rows, 1)
    lowest = int(np.nanargmin(np.where(result.mated, result.scores, np.nan)))
    highest = int(np.nanargmax(np.where(result.mated, np.nan, result.scores)))
    assert [(p.first, p.second) for p in found] == [protocol.compared[lowest], protocol.compared[highest]]


def test_of_people_and_templates() -> None:
    rows = _rows()
    people = People("people", "data", tuple(NAMES), tuple(WHO))
    assert hardest_pairs(people, people.evaluate(lambda _: rows), rows, 3) == hardest_of_all(
        rows, WHO, NAMES, 3
    )
    halves = tuple(
        MediaTemplate(f"{part}{p}", f"P{p}", tuple((f"P{p}/{n}.png",) for n in numbers))
        for p in range(12)
        for part, numbers in (("a", (2, 3)), ("b", (0, 1, 4)))
    )
    listed = np.array([(one, other) for one in range(0, 24, 2) for other in range(1, 24, 2)])
    for compared in (None, listed):
        protocol = Templates("templates", "t.csv", halves, compared)
        shown = rows[[NAMES.index(name) for name in protocol.photos]]
        result = protocol.evaluate(lambda _, shown=shown: shown)
        found = hardest_pairs(protocol, result, shown, 2)
        made = protocol.embedded(shown).astype(float)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        places = listed if compared is not None else np.array(np.triu_indices(24, 1)).T
        ordered = sorted(
            ((float(made[a] @ made[b]), halves[a].name, halves[b].name) for a, b in places.tolist()),
        )
        mated = [pair for pair in ordered if pair[1][1:] == pair[2][1:]][:2]
        assert [(p.first, p.second) for p in found[:2]] == [(a, b) for _, a, b in mated]
        assert [p.score for p in found[:2]] == pytest.approx([score for score, *_ in mated], abs=1e-6)
        assert found[0].photos == (f"P{found[0].first[1:]}/2.png", f"P{found[0].second[1:]}/0.png")


def test_a_template_is_shown_by_its_first_photo_with_an_embedding() -> None:
    rows = _rows()
    halves = tuple(
        MediaTemplate(f"{part}{p}", f"P{p}", tuple((f"P{p}/{n}.png",) for n in numbers))
        for p in range(12)
        for part, numbers in (("a", (2, 3)), ("b", (0, 1, 4)))
    )
    protocol = Templates("templates", "t.csv", halves, None)
    shown = rows[[NAMES.index(name) for name in protocol.photos]]
    found = hardest_pairs(protocol, protocol.evaluate(lambda _: shown), shown, 300)
    photos = {name: photo for p in found for name, photo in zip((p.first, p.second), p.photos, strict=True)}
    # P1/2.png, the first of a1, gave no embedding
    assert (photos["a1"], photos["a2"], photos["b1"]) == ("P1/3.png", "P2/2.png", "P1/0.png")


def test_of_more_photos_than_a_block_with_the_first_of_those_that_tie() -> None:
    random = np.random.default_rng(2)
    rows = random.normal(size=(1500, 6)).astype(np.float32)
    # photos of other persons that are all alike, in another block
    rows[1400:1406] = rows[3]
    people, names = [f"P{n // 3}" for n in range(1500)], [f"{n}" for n in range(1500)]
    found = hardest_of_all(rows, people, names, 10)
    unit = rows.astype(float) / np.linalg.norm(rows, axis=1, keepdims=True)
    one, other = np.triu_indices(1500, 1)
    scores, same = (unit[one] * unit[other]).sum(axis=1), one // 3 == other // 3
    lowest = np.flatnonzero(same)[np.argsort(scores[same])[:10]]
    assert [(p.first, p.second) for p in found[:10]] == [(names[one[k]], names[other[k]]) for k in lowest]
    tied = {(3, n) for n in range(1400, 1406)} | {
        (a, b) for a in range(1400, 1406) for b in range(a + 1, 1406) if a // 3 != b // 3
    }
    assert all((int(p.first), int(p.second)) in tied for p in found[10:])
    assert [p.second for p in found[10:16]] == [str(n) for n in range(1400, 1406)]


def test_of_searches() -> None:
    rows = _rows()
    protocol = Identification(
        "identification", "data", {f"P{p}": (f"P{p}/0.png", f"P{p}/1.png") for p in range(6)},
        tuple((f"P{p}/{n}.png", f"P{p}") for p in range(6) for n in (2, 3)),
        tuple((f"P{p}/0.png", f"P{p}") for p in range(6, 12)),
    )  # fmt: skip
    shown = rows[[NAMES.index(name) for name in protocol.photos]]
    # nobody of P2's gallery photos gave an embedding: the places of those after P2 move up
    shown[4:6] = np.nan
    unit = shown / np.linalg.norm(shown, axis=1, keepdims=True)
    found = hardest_pairs(protocol, protocol.evaluate(lambda _: unit), unit, 2)
    templates = {p: unit[2 * p] + unit[2 * p + 1] for p in (0, 1, 3, 4, 5)}
    own, strange = [], []
    for place, (photo, person) in enumerate(protocol.probes):
        p = int(person[1:])
        if p in templates and np.isfinite(unit[12 + place]).all():
            template = templates[p] / np.linalg.norm(templates[p])
            own.append((float(unit[12 + place] @ template), photo, person))
    for place, (photo, _) in enumerate(protocol.unknown):
        for p, template in templates.items():
            strange.append((float(unit[24 + place] @ template / np.linalg.norm(template)), photo, f"P{p}"))
    best = {photo: max(s for s in strange if s[1] == photo) for photo in {s[1] for s in strange}}
    want = sorted(own)[:2] + sorted(best.values(), reverse=True)[:2]
    assert [(p.first, p.second, p.mated) for p in found] == [
        (photo, person, place < 2) for place, (_, photo, person) in enumerate(want)
    ]
    assert [p.score for p in found] == pytest.approx([score for score, *_ in want], abs=1e-6)
    assert found[0].photos == (found[0].first, f"{found[0].second}/0.png")


def test_the_figure_shows_each_pair_with_its_score() -> None:
    def shown(mated: bool, score: float, grey: int | None) -> ShownPair:
        pair = HardPair("a", "b", mated, score, ("a", "b"))
        faces = [np.full((8, 8, 3), grey + side, np.uint8) for side in (0, 100)] if grey is not None else None
        return ShownPair(pair, (faces[0], faces[1]) if faces else None)

    told = [shown(True, 0.1, 10), shown(True, 0.2, None), shown(False, 0.7, 20), shown(False, 0.66, 30)]
    figure = hardest_figure(told)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == ["mated, 0.10", "non-mated, 0.70", "non-mated, 0.66"]
    left_and_right = [np.asarray(axes.images[0].get_array())[0, [0, 15], 0].tolist() for axes in drawn]
    assert left_and_right == [[10, 110], [20, 120], [30, 130]]
    assert not any(axes.images for axes in hardest_figure([]).axes)
