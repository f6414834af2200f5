"""CALFW and CPLFW lists, the CFP folder, packs and folders of people."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.reporting import figure, table_notes
from facekd.verification import metrics
from facekd.verification.protocols import list_names, open_protocol


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# CALFW and CPLFW


def _two_lines(mated: int = 20, non_mated: int = 20) -> str:
    """As CALFW is written: mated pairs first, their flag the fold, then non-mated ones with flag 0."""
    lines = []
    for n in range(mated):
        flag = 1 + n * 10 // mated
        lines += [f"Ann_Lee{n}_0001.jpg {flag}", f"Ann_Lee{n}_0012.jpg {flag}"]
    for n in range(non_mated):
        lines += [f"Bob_{n}_0001.jpg 0", f"Cid_van_{n}_0003.jpg 0"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["calfw", "cplfw"])
def test_two_lines_make_a_pair(tmp_path: Path, name: str) -> None:
    protocol = open_protocol(name, _write(tmp_path / list_names(name)[0], _two_lines()))
    assert protocol.name == name
    assert [p.mated for p in protocol.pairs] == [True] * 20 + [False] * 20
    assert (protocol.pairs[0].first, protocol.pairs[0].second) == ("Ann_Lee0_0001.jpg", "Ann_Lee0_0012.jpg")
    # the fold that the flags of the mated pairs state is the one that their order gives
    assert protocol.fold[:20].tolist() == [n * 10 // 20 for n in range(20)]
    assert np.bincount(protocol.fold[20:]).tolist() == [2] * 10
    # persons come from file names, so that the bootstrap can draw them
    assert set(protocol.people) >= {"Ann_Lee3", "Bob_0", "Cid_van_19"}
    assert len(set(protocol.people)) == 60


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a_1.jpg 1\na_2.jpg 1\nb_1.jpg 0\n", "3 photos; two lines"),
        ("a_1.jpg 1\na_2.jpg 0\n", "line 1: its flag is 1, that of the next line is 0"),
        ("a_1.jpg 1\na_2.jpg\n", "line 2: expected the name"),
        ("\na_1.jpg 1\na_2.jpg 1\nc_1.jpg -1\nc_1.jpg 0\n", "line 4: expected"),
        ("a_1.jpg 1 7\na_2.jpg 1\n", "line 1: expected"),
        ("", "0 mated"),
    ],
)
def test_broken_two_line_lists(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        open_protocol("calfw", _write(tmp_path / "pairs_CALFW.txt", text))


# CFP


@pytest.fixture
def cfp(tmp_path: Path) -> Path:
    """The published layout: ten persons, ten frontal and four profile photos each; ten folds."""
    for kind, folder, count in (("F", "frontal", 10), ("P", "profile", 4)):
        lines = [
            f"{person * count + n + 1} ../Data/Images/{person + 1:03d}/{folder}/{n + 1:02d}.jpg"
            for person in range(10)
            for n in range(count)
        ]
        _write(tmp_path / "Protocol" / f"Pair_list_{kind}.txt", "\n".join(lines) + "\n")
    for fold in range(10):
        mine, other = fold, (fold + 3) % 10
        for kind, count in (("FF", 10), ("FP", 4)):
            same = f"{mine * 10 + 1},{mine * count + 2}\n{mine * 10 + 5},{mine * count + 4}\n"
            diff = f"{mine * 10 + 2},{other * count + 1}\n{mine * 10 + 3},{other * count + 3}\n"
            split = tmp_path / "Protocol" / "Split" / kind / f"{fold + 1:02d}"
            _write(split / "same.txt", same)
            _write(split / "diff.txt", diff)
    return tmp_path / "Protocol"


def test_cfp_from_its_folder(cfp: Path) -> None:
    for path in (cfp, cfp / "Pair_list_F.txt"):
        protocol = open_protocol("cfp-fp", path)
        assert [(p.first, p.second, p.mated, p.fold) for p in protocol.pairs[4:8]] == [
            ("002/frontal/01.jpg", "002/profile/02.jpg", True, "02"),
            ("002/frontal/05.jpg", "002/profile/04.jpg", True, "02"),
            ("002/frontal/02.jpg", "005/profile/01.jpg", False, "02"),
            ("002/frontal/03.jpg", "005/profile/03.jpg", False, "02"),
        ]
        assert protocol.fold_names == tuple(f"{n:02d}" for n in range(1, 11))
        assert set(protocol.people) == {f"{n:03d}" for n in range(1, 11)}
    frontal = open_protocol("cfp-ff", cfp)
    assert all("/frontal/" in name for name in frontal.photos)
    assert frontal.pairs[4].second == "002/frontal/02.jpg"
    assert len(frontal.pairs) == len(protocol.pairs) == 40


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        (
            "Pair_list_F.txt",
            "1 ../Data/Images/001/frontal/01.jpg\ntwo x/y/z.jpg\n",
            "F.txt, line 2: expected",
        ),
        ("Pair_list_P.txt", "1 01.jpg\n", "P.txt, line 1: expected a number and a path"),
        ("Pair_list_P.txt", "1 a/../01.jpg\n", "P.txt, line 1: expected a number and a path"),
        ("Split/FP/03/same.txt", "1,1\n1;2\n", "same.txt, line 2: expected two numbers"),
        ("Split/FP/03/same.txt", "1,2,3\n", "same.txt, line 1: expected two numbers"),
        ("Split/FP/10/diff.txt", "1,1\n\n1,41\n", "diff.txt, line 3: no photo has the number 1,41"),
    ],
)
def test_broken_cfp_folders(cfp: Path, file: str, text: str, told: str) -> None:
    _write(cfp / file, text)
    with pytest.raises(Unreadable, match=told):
        open_protocol("cfp-fp", cfp)


def test_cfp_folders_with_parts_missing(cfp: Path, tmp_path: Path) -> None:
    (cfp / "Split" / "FP" / "04" / "diff.txt").unlink()
    with pytest.raises(InputOutput, match=r"diff\.txt: No such file"):
        open_protocol("cfp-fp", cfp)
    (cfp / "Split" / "FF").rename(tmp_path / "away")
    with pytest.raises(InputOutput, match="no folds in it"):
        open_protocol("cfp-ff", cfp)


# packs


def test_a_pack_in_ten_consecutive_runs(tmp_path: Path) -> None:
    """The folds are those that scikit-learn's KFold without shuffling gives, as insightface cuts them."""
    from sklearn.model_selection import KFold

    for pairs in (10, 23, 47, 600):
        same = [n % 3 > 0 for n in range(pairs)]
        path = tmp_path / "x.bin"
        path.write_bytes(pickle.dumps(([b"x"] * (2 * pairs), same)))
        protocol = open_protocol("bin", path)
        assert [p.mated for p in protocol.pairs] == same
        assert (protocol.pairs[4].first, protocol.pairs[4].second) == ("000008.jpg", "000009.jpg")
        for number, (_, test) in enumerate(KFold(10).split(same)):
            np.testing.assert_array_equal(np.flatnonzero(protocol.fold == number), test)
        assert "10 consecutive runs" in protocol.folds_from
        assert protocol.people is None
        assert len(protocol.photos) == 2 * pairs


def test_a_pack_of_one_pair(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps(([b"x", b"y"], [True])))
    with pytest.raises(Unreadable, match="one pair"):
        open_protocol("bin", tmp_path / "x.bin")


# people


def _people(folder: Path, counts: Sequence[int]) -> Path:
    for person, count in enumerate(counts):
        for n in range(count):
            _write(folder / f"P{person:02d}" / f"{n}.jpg", "")
    return folder


def _embed(names: Sequence[str]) -> np.ndarray:
    random = np.random.default_rng(1)
    people = sorted({name.split("/")[0] for name in names})
    centres = dict(zip(people, random.normal(size=(len(people), 12)), strict=True))
    return np.array([centres[n.split("/")[0]] + random.normal(size=12) for n in names], np.float32)


def test_every_pair_of_people_is_counted(tmp_path: Path) -> None:
    protocol = open_protocol("people", _people(tmp_path, [3] * 30 + [1] * 10))
    rows = _embed(protocol.photos)
    rows[[2, 90]] = np.nan
    result = protocol.evaluate(lambda names: rows)
    unit = rows.astype(float) / np.linalg.norm(rows, axis=1, keepdims=True)
    mated, non_mated, lost = [], [], 0
    for i in range(100):
        for j in range(i):
            same = protocol.photos[i].split("/")[0] == protocol.photos[j].split("/")[0]
            score = unit[i] @ unit[j]
            if np.isnan(score):
                lost += 1
            else:
                (mated if same else non_mated).append(score)
    told = result.to_dict()
    assert told["comparisons"]["mated"] == len(mated)
    assert told["comparisons"]["non_mated"] == len(non_mated)
    assert told["comparisons"]["failed_mated"] + told["comparisons"]["failed_non_mated"] == lost
    assert (told["people"], told["photos"]) == (40, 100)
    assert result.failed == (protocol.photos[2], protocol.photos[90])
    assert [point["fmr"] for point in told["operating_points"]] == [1e-2, 1e-3, 1e-4, 1e-5]
    first = result.points[0]
    assert first.tar == pytest.approx(metrics.tar_at_fmr(mated, non_mated, 1e-2))
    assert first.interval.low < first.tar < first.interval.high
    # 4,800 comparisons show 1e-2 and nothing below
    assert [point.tar is None for point in result.points] == [False, True, True, True]
    assert sum("insufficient" in line for line in table_notes(result)) == 3
    assert len(figure(result).axes[0].lines) == 1


def test_folders_that_are_no_people(tmp_path: Path) -> None:
    _people(tmp_path, [2])
    with pytest.raises(Unreadable, match="photos of 1 people"):
        open_protocol("people", tmp_path)
    _write(tmp_path / "stray.jpg", "")
    with pytest.raises(Unreadable, match=r"1 photos are not in a person's folder, for example stray\.jpg"):
        open_protocol("people", tmp_path)
    with pytest.raises(InputOutput, match="no such file or folder"):
        open_protocol("people", tmp_path / "absent")
    single = open_protocol("people", _people(tmp_path / "single", [1, 1, 1]))
    with pytest.raises(UsageError, match="no mated comparison"):
        single.evaluate(_embed)
