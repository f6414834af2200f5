"""Persons left out of a protocol, against the same protocol written without them by hand."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification.asymmetric_pairs import Kept
from facekd.verification.protocols import PairList, open_protocol

PEOPLE, PHOTOS = [f"P{number:02d}" for number in range(24)], 4
GONE = ["P03", "P10", "P21"]


def embed(names: Sequence[str]) -> np.ndarray:
    """Photos of one person lie near each other; a row is a function of the photo's name alone."""
    rows = [_drawn(n.split("/")[0]) + 1.2 * _drawn(n) for n in names]
    return np.array(rows, np.float32)


def _drawn(text: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=16)


Line = tuple[str, str, int, str]


def _lines(folds: int = 6) -> list[Line]:
    """Pairs within the fold of four persons each, all mated ones and as many non-mated."""
    lines = []
    for fold in range(folds):
        persons = PEOPLE[4 * fold : 4 * fold + 4]
        mated = [(f"{p}/{a}.png", f"{p}/{b}.png") for p in persons for a, b in combinations(range(PHOTOS), 2)]
        others = [
            (f"{p}/{n}.png", f"{q}/{n}.png") for p, q in combinations(persons, 2) for n in range(PHOTOS)
        ]
        lines += [(a, b, 1, f"f{fold}") for a, b in mated] + [(a, b, 0, f"f{fold}") for a, b in others]
    return lines


def _read(path: Path, lines: Iterable[Line], folds: bool = True) -> PairList:
    rows = [f"{a},{b},{label}" + f",{fold}" * folds for a, b, label, fold in lines]
    path.write_text("\n".join(["path1,path2,label" + ",fold" * folds, *rows]))
    return open_protocol("pairs", path)


def _kept(lines: Iterable[Line], gone: Sequence[str]) -> list[Line]:
    return [line for line in lines if not any(end.split("/")[0] in gone for end in line[:2])]


def _numbers(protocol: PairList) -> dict:
    told = protocol.evaluate(embed).to_dict()
    return {key: value for key, value in told.items() if key not in ("list", "folds_from")}


def test_a_list_is_as_if_it_had_been_written_without_them(tmp_path: Path) -> None:
    lines = _lines()
    whole = _read(tmp_path / "all.csv", lines)
    rest, by_hand = whole.without(GONE), _read(tmp_path / "rest.csv", _kept(lines, GONE))
    assert rest.photos == by_hand.photos
    assert rest.people == by_hand.people
    assert not set(GONE) & set(rest.people)
    assert _numbers(rest) == _numbers(by_hand) != _numbers(whole)
    gone = rest.left_out
    assert (gone.people, gone.unknown, gone.photos, gone.others) == (tuple(GONE), (), 12, 0)
    assert (gone.mated, gone.non_mated) == (3 * 6, 3 * 3 * 4)  # nobody shares a fold with another
    assert whole.left_out is None
    assert rest.folds_from == "6 folds as listed; of these, 6 with 30 to 48 pairs are left"


def test_folds_made_by_order_stay(tmp_path: Path) -> None:
    lines = sorted(_lines(), key=lambda line: -line[2])
    mated = sum(line[2] for line in lines)
    own = [*(n * 10 // mated for n in range(mated)), *(n * 10 // mated for n in range(len(lines) - mated))]
    stated = [(a, b, label, f"{fold + 1}") for (a, b, label, _), fold in zip(lines, own, strict=True)]
    rest = _read(tmp_path / "all.csv", lines, folds=False).without(GONE)
    assert _numbers(rest) == _numbers(_read(tmp_path / "rest.csv", _kept(stated, GONE)))
    again = _read(tmp_path / "again.csv", _kept(lines, GONE), folds=False)
    assert rest.fold.tolist() != again.fold.tolist()


def test_photos_of_others_that_only_lost_pairs_name(tmp_path: Path) -> None:
    lines = [*_lines(), ("P00/9.png", "P03/0.png", 0, "f0")]
    rest = _read(tmp_path / "all.csv", lines).without(["P03"])
    assert "P00/9.png" not in rest.photos
    assert (rest.left_out.photos, rest.left_out.others, rest.left_out.non_mated) == (5, 1, 13)
    told = "6 mated and 13 non-mated comparisons; with them 5 photos (1 of them of other people"
    assert told in rest.left_out.sentence


def test_a_fold_may_lose_all_or_one_kind_of_its_pairs(tmp_path: Path) -> None:
    lines = _lines()
    first, second, third = PEOPLE[:4], PEOPLE[4:7], PEOPLE[8:12]
    gone = [*first, *second]
    rest = _read(tmp_path / "all.csv", lines).without(gone)
    assert rest.fold_names == ("f1", "f2", "f3", "f4", "f5")
    assert sorted(set(rest.fold.tolist())) == [0, 1, 2, 3, 4]
    assert rest.folds_from.endswith("of these, 5 with 6 to 48 pairs are left, 1 with pairs of one kind only")
    assert _numbers(rest) == _numbers(_read(tmp_path / "rest.csv", _kept(lines, gone)))
    found = rest.evaluate(embed)
    assert [fold.comparisons for fold in found.folds] == [6, 48, 48, 48, 48]
    # every fold counts the same in the mean, the smallest too
    shares = [found.right[rest.fold == fold].mean() for fold in range(5)]
    assert found.accuracy.mean == pytest.approx(np.mean(shares))
    assert np.mean(shares) != pytest.approx(found.right.mean())
    whole = _read(tmp_path / "all.csv", lines)
    with pytest.raises(UsageError, match=r"3 fold\(s\) with mated and 1 with non-mated pairs are left"):
        whole.without([*third, *gone, *PEOPLE[12:15], *PEOPLE[16:20]])
    with pytest.raises(UsageError, match=r"0 fold\(s\) with mated and 0 with non-mated"):
        whole.without(PEOPLE)


def test_all_with_all_is_a_folder_without_them(tmp_path: Path) -> None:
    for person in PEOPLE:
        for photo in range(1 + PEOPLE.index(person) % 4):
            for folder in ("all", "rest") if person not in GONE else ("all",):
                (tmp_path / folder / person).mkdir(parents=True, exist_ok=True)
                (tmp_path / folder / person / f"{photo}.png").touch()
    whole = open_protocol("people", tmp_path / "all")
    rest, by_hand = whole.without([*GONE, "nobody"]), open_protocol("people", tmp_path / "rest")
    assert (rest.photos, rest.people) == (by_hand.photos, by_hand.people)
    told, expected, before = (p.evaluate(embed).to_dict() for p in (rest, by_hand, whole))
    assert told | {"list": ""} == expected | {"list": ""}
    gone = rest.left_out
    assert (gone.unknown, gone.others, gone.photos) == (("nobody",), 0, len(whole.photos) - len(rest.photos))
    for kind, lost in (("mated", gone.mated), ("non_mated", gone.non_mated)):
        assert lost == before["comparisons"][kind] - told["comparisons"][kind]
    with pytest.raises(UsageError, match="0 mated and 1 non-mated comparisons are left"):
        whole.without([person for person in PEOPLE if person not in ("P00", "P04")])


def test_who_is_meant(tmp_path: Path) -> None:
    whole = _read(tmp_path / "all.csv", _lines())
    rest = whole.without(["lfw-deepfunneled/P03", "P10/", "p04", "P1", "", "x/"])
    assert rest.left_out.people == ("P03", "P10")
    assert rest.left_out.unknown == ("p04", "P1", "", "x/")
    told = r"none of the names to leave out matches one of its 24 people[^\n]*\n.*: P00\."
    with pytest.raises(UsageError, match=told):
        whole.without(["nobody", "P3"])
    deep = _read(tmp_path / "deep.csv", [(f"a/{x}", f"a/{y}", m, f) for x, y, m, f in _lines()])
    # the folder around everybody's is nobody's, and may be named or not
    assert deep.without(["a/P03"]).left_out.people == deep.without(["P03"]).left_out.people == ("P03",)


def test_persons_who_are_told_otherwise_than_by_folder(tmp_path: Path) -> None:
    lines = [f"Ann_{n}_{photo:04d}.jpg {n + 1}" for n in range(8) for photo in (1, 2)]
    lines += [f"Ann_{(n + 1) // 2 % 8}_0001.jpg 0" for n in range(16)]
    (tmp_path / "pairs_CALFW.txt").write_text("\n".join(lines))
    rest = open_protocol("calfw", tmp_path / "pairs_CALFW.txt").without(["Ann_3"])
    assert {photo.rpartition("_")[0] for photo in rest.photos} == {f"Ann_{n}" for n in range(8) if n != 3}
    assert (rest.left_out.mated, rest.left_out.non_mated) == (1, 2)
    # the fourth fold was their mated pair and a non-mated one
    assert rest.fold_names == ("1", "2", "3", "5", "6", "7", "8")


def test_two_models_at_once_keep_what_was_left_out(tmp_path: Path) -> None:
    rest = _read(tmp_path / "all.csv", _lines()).without(GONE)
    kept = Kept.of(rest)
    assert kept.left_out == rest.left_out
    assert kept.evaluate(embed).to_dict() == rest.evaluate(embed).to_dict()


def test_protocols_without_persons(tmp_path: Path) -> None:
    flat = _read(tmp_path / "flat.csv", [(f"{n}.png", f"{n + 1}.png", n % 2, str(n // 4)) for n in range(8)])
    for name in ("set/gallery/A/1.png", "set/probe/A/2.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "templates.csv").write_text("template,person,photo\na,A,A/1.png\nb,B,B/1.png\n")
    image = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    (tmp_path / "x.bin").write_bytes(pickle.dumps(([image] * 8, [True, False] * 2), 2))
    protocols = [
        flat,
        open_protocol("identification", tmp_path / "set"),
        open_protocol("templates", tmp_path / "templates.csv"),
        open_protocol("bin", tmp_path / "x.bin"),
    ]
    for protocol in protocols:
        assert protocol.left_out is None
        told = f"protocol {protocol.name} does not compare photos of known people"
        with pytest.raises(UsageError, match=told):
            protocol.without(["A"])
