"""Lists as published and lists of one's own; folds, thresholds and failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.reporting import table_rows
from facekd.verification import metrics
from facekd.verification.protocols import (
    data_is_list,
    list_names,
    open_protocol,
    protocol_help,
    protocol_names,
    suggest_protocol,
)

VIEW2 = """2\t2
Ann\t1\t2
Ann\t1\t3
Ann\t1\tBob\t1
Cid\t1\tBob\t2
Cid\t1\t2
Dan\t4\t12
Cid\t1\tDan\t4
Ann\t3\tDan\t12
"""


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _embedder(seed: int = 0, noise: float = 0.6, failed: Sequence[str] = ()):
    """Photos of one folder lie near each other; ``failed`` ones give nothing."""

    def embed(names: Sequence[str]) -> np.ndarray:
        random = np.random.default_rng(seed)
        people = sorted({name.split("/")[0] for name in names})
        centres = dict(zip(people, random.normal(size=(len(people), 16)), strict=True))
        rows = np.array([centres[n.split("/")[0]] + noise * random.normal(size=16) for n in names])
        rows[[name in failed for name in names]] = np.nan
        return rows.astype(np.float32)

    return embed


def test_the_registry_lists_the_folder() -> None:
    assert {"lfw", "pairs", "cfp-fp", "bin", "people", "templates"} <= set(protocol_names())
    assert "pairs.txt" in list_names("lfw")
    assert list_names("people") == ()
    with pytest.raises(UsageError, match="Known: bin, calfw"):
        open_protocol("ijbc", "list.txt")


def test_the_photos_are_the_list_or_the_list_has_a_usual_name() -> None:
    for name in protocol_names():
        assert data_is_list(name) == (list_names(name) == ())


@pytest.mark.parametrize(
    ("listed", "data", "suggested"),
    [
        ("mine.csv", "lfw.zip", "pairs"),
        ("MINE.CSV", "x.bin", "pairs"),
        ("pairs.txt", "x.bin", "lfw"),
        ("mine", "photos", "lfw"),
        (None, "cfp_fp.bin", "bin"),
        (None, "cfp_fp.BIN", "bin"),
        (None, "lfw.zip", "lfw"),
        # a suffix of lists says nothing of data, nor the other way round
        (None, "photos.csv", "lfw"),
        ("x.bin", "photos", "lfw"),
    ],
)
def test_what_the_names_of_files_suggest(listed: str | None, data: str, suggested: str) -> None:
    assert suggest_protocol(Path(listed) if listed else None, Path(data)) == suggested


def test_help_names_every_protocol_and_what_suggests_it() -> None:
    told = protocol_help()
    assert all(f"{name} (" in told for name in protocol_names())
    assert told.endswith("pairs for a --pairs FILE.csv, bin for a --data FILE.bin, else lfw.")
    of_pairs = protocol_help(pairs_of_photos=True)
    assert "cfp-fp (" in of_pairs
    assert not any(f"{name} (" in of_pairs for name in ("people", "identification", "templates"))


def test_view_2_is_read_as_written(tmp_path: Path) -> None:
    protocol = open_protocol("lfw", _write(tmp_path / "pairs.txt", VIEW2))
    assert [(p.first, p.second) for p in protocol.pairs[:3]] == [
        ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg"),
        ("Ann/Ann_0001.jpg", "Ann/Ann_0003.jpg"),
        ("Ann/Ann_0001.jpg", "Bob/Bob_0001.jpg"),
    ]
    assert [p.mated for p in protocol.pairs] == [True, True, False, False] * 2
    assert protocol.fold.tolist() == [0] * 4 + [1] * 4
    assert "Dan/Dan_0012.jpg" in protocol.photos
    assert len(protocol.photos) == len(set(protocol.photos)) == 9
    assert set(protocol.people) == {"Ann", "Bob", "Cid", "Dan"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not an LFW pair list"),
        ("path1,path2,label\n", "not an LFW pair list"),
        ("2\t2\nAnn\t1\t2\n", "announces 8 pairs"),
        (VIEW2.replace("Ann\t1\t3", "Ann\t1\tBob\t3"), "line 3: expected a name and two numbers"),
        (VIEW2.replace("Cid\t1\tBob\t2", "Cid\t1\t2"), "line 5: expected a name, a number"),
        (VIEW2.replace("Dan\t4\t12", "Dan\tfour\t12"), "line 7"),
    ],
)
def test_broken_lfw_lists(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        open_protocol("lfw", _write(tmp_path / "pairs.txt", text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "first line is ''"),
        ("a.jpg,b.jpg,1\n", "first line is 'a.jpg,b.jpg,1'"),
        ("path1,path2,label\na.jpg,b.jpg\n", "line 2: expected 3 columns"),
        ("path1,path2,label\na.jpg,b.jpg,1\na.jpg,c.jpg,2\n", "line 3: label '2'"),
        ("path1,path2,label,fold\na.jpg,b.jpg,1,\n", "line 2: expected 4 columns"),
        ("path1,path2,label,fold\na.jpg,b.jpg,1,x\nc.jpg,b.jpg,0,x\n", r"1 fold\(s\)"),
        ("path1,path2,label\na.jpg,b.jpg,1\n", r"0 fold\(s\)"),
        ("path1,path2,label\n", "0 mated and 0 non-mated"),
    ],
)
def test_broken_pair_lists(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        open_protocol("pairs", _write(tmp_path / "pairs.csv", text))


def test_lists_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xd8\xff\xe0\x00")
    for name in ("lfw", "pairs", "calfw", "cplfw"):
        with pytest.raises(Unreadable, match="not a text file"):
            open_protocol(name, tmp_path / "x")
        with pytest.raises(InputOutput, match="No such file"):
            open_protocol(name, tmp_path / "absent")


def test_csv_takes_spaces_quotes_a_mark_and_words(tmp_path: Path) -> None:
    text = '\ufeffpath1, path2 ,Label,FOLD\n"a, b/1.jpg",./a.jpg,TRUE,x\n\nc\\2.jpg,d.jpg,false,y\n'
    protocol = open_protocol("pairs", _write(tmp_path / "p.csv", text))
    assert [(p.first, p.second, p.mated) for p in protocol.pairs] == [
        ("a, b/1.jpg", "a.jpg", True),
        ("c/2.jpg", "d.jpg", False),
    ]
    assert protocol.fold_names == ("x", "y")


def test_folds_by_order_are_balanced(tmp_path: Path) -> None:
    rows = [f"p{n}/1.jpg,p{n}/2.jpg,1" for n in range(37)] + [f"p{n}/1.jpg,q/1.jpg,0" for n in range(25)]
    protocol = open_protocol("pairs", _write(tmp_path / "p.csv", "\n".join(["path1,path2,label", *rows])))
    mated = np.array([p.mated for p in protocol.pairs])
    for kind, total in ((mated, 37), (~mated, 25)):
        folds = protocol.fold[kind]
        assert (np.diff(folds) >= 0).all()
        sizes = np.bincount(folds, minlength=10)
        assert sizes.sum() == total
        assert sizes.max() - sizes.min() <= 1
    assert "10 by the order of the list" in protocol.folds_from


def _drawn_list(tmp_path: Path, people: int = 40, per_fold: int = 30) -> Path:
    """An LFW list of ten folds over drawn persons of four photos each."""
    random = np.random.default_rng(7)
    lines = [f"10\t{per_fold}"]
    for _ in range(10):
        for _ in range(per_fold):
            one, other = random.choice(4, 2, replace=False) + 1
            lines.append(f"P{random.integers(people)}\t{one}\t{other}")
        for _ in range(per_fold):
            one, other = random.choice(people, 2, replace=False)
            lines.append(f"P{one}\t{random.integers(1, 5)}\tP{other}\t{random.integers(1, 5)}")
    return _write(tmp_path / "pairs.txt", "\n".join(lines))


def test_accuracy_by_hand(tmp_path: Path) -> None:
    """Ten folds re-done with an exhaustive search for each threshold."""
    protocol = open_protocol("lfw", _drawn_list(tmp_path))
    embed = _embedder(noise=1.1)
    result = protocol.evaluate(embed)
    rows = dict(zip(protocol.photos, embed(protocol.photos).astype(float), strict=True))
    score = np.array(
        [
            rows[p.first] @ rows[p.second] / np.linalg.norm(rows[p.first]) / np.linalg.norm(rows[p.second])
            for p in protocol.pairs
        ]
    )
    np.testing.assert_allclose(result.scores, score, atol=1e-9)
    mated = np.array([p.mated for p in protocol.pairs])
    for index, fold in enumerate(result.folds):
        here = np.arange(600) // 60 == index
        levels = np.sort(score[~here])
        middles = (levels[:-1] + levels[1:]) / 2
        best = max(((score[~here] >= t) == mated[~here]).mean() for t in middles)
        assert ((score[~here] >= fold.threshold) == mated[~here]).mean() == pytest.approx(best)
        assert fold.accuracy == pytest.approx(((score[here] >= fold.threshold) == mated[here]).mean())
    values = [fold.accuracy for fold in result.folds]
    assert 0.7 < np.mean(values) < 0.99
    assert result.accuracy.mean == pytest.approx(np.mean(values))
    assert result.accuracy.std == pytest.approx(np.std(values, ddof=1))
    assert result.accuracy.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(10))
    # Student's 97.5 % point at nine degrees of freedom is 2.262
    half = result.accuracy.interval.high - result.accuracy.mean
    assert half == pytest.approx(2.262 * result.accuracy.standard_error, rel=1e-3)
    assert result.rates.auc.value == pytest.approx(metrics.auc(score[mated], score[~mated]))
    assert result.rates.eer.value == pytest.approx(metrics.eer(score[mated], score[~mated]))
    assert result.rates.auc.interval.low < result.rates.auc.value < result.rates.auc.interval.high


def test_a_list_that_is_not_balanced_is_called_so(tmp_path: Path) -> None:
    rows = ["path1,path2,label"]
    for person in range(20):
        rows.append(f"P{person}/1.png,P{person}/2.png,1")
        rows += [f"P{person}/1.png,P{(person + step) % 20}/2.png,0" for step in range(1, 6)]
    result = open_protocol("pairs", _write(tmp_path / "pairs.csv", "\n".join(rows))).evaluate(
        _embedder(noise=1.1)
    )
    mated = result.right[result.mated].mean()
    non_mated = result.right[~result.mated].mean()
    assert not result.is_balanced
    assert mated != non_mated
    assert result.balanced_accuracy == pytest.approx((mated + non_mated) / 2)
    table = dict(table_rows(result))
    assert table["balanced accuracy"] == f"{50 * (mated + non_mated):.2f}"
    assert any(row.startswith("accuracy (list not balanced), ") for row in table)
    assert result.to_dict()["balanced"] is False
    even = open_protocol("lfw", _drawn_list(tmp_path)).evaluate(_embedder())
    assert even.is_balanced
    assert "balanced accuracy" not in dict(table_rows(even))


def test_failures_count_as_errors_and_are_never_dropped(tmp_path: Path) -> None:
    protocol = open_protocol("lfw", _drawn_list(tmp_path))
    gone = [protocol.pairs[0].first, protocol.pairs[45].second]
    clean, result = protocol.evaluate(_embedder()), protocol.evaluate(_embedder(failed=gone))
    lost = np.array([p.first in gone or p.second in gone for p in protocol.pairs])
    np.testing.assert_array_equal(np.isnan(result.scores), lost)
    assert result.failed == tuple(sorted(gone))
    assert not result.right[lost].any()
    assert sum(fold.failures for fold in result.folds) == lost.sum()
    assert result.accuracy_with_failures.mean == pytest.approx(result.right.mean())
    assert result.accuracy_with_failures.mean < result.accuracy.mean
    assert clean.accuracy_with_failures == clean.accuracy
    told = result.to_dict()
    assert told["comparisons"]["failed_mated"] + told["comparisons"]["failed_non_mated"] == lost.sum()
    assert told["failures_to_acquire"]["failed"] == 2
    assert told["failures_to_acquire"]["rate"] == pytest.approx(2 / len(protocol.photos))
    everyone = told["all_pairs"]
    photos = len(protocol.photos)
    assert everyone["non_mated"] + everyone["mated"] == (photos - 2) * (photos - 3) / 2
    assert everyone["failed_mated"] + everyone["failed_non_mated"] == 2 * photos - 3


def test_no_error_gives_a_bound_and_never_no_width(tmp_path: Path) -> None:
    result = open_protocol("lfw", _drawn_list(tmp_path)).evaluate(_embedder(noise=0.01))
    assert result.accuracy.mean == 1
    for interval in (result.accuracy.interval, result.rates.auc.interval):
        assert interval.low < interval.high == 1
    assert result.rates.eer.interval.high > result.rates.eer.interval.low == 0


def test_pairs_whose_folders_are_not_persons_are_not_compared_all_with_all(tmp_path: Path) -> None:
    rows = [f"x/{n}.jpg,y/{n}.jpg,{n % 2}" for n in range(40)]
    protocol = open_protocol("pairs", _write(tmp_path / "p.csv", "\n".join(["path1,path2,label", *rows])))
    assert protocol.people is None
    random = np.random.default_rng(8)
    result = protocol.evaluate(lambda names: random.normal(size=(len(names), 8)))
    assert result.everyone is None
    assert "do not name people" in result.to_dict()["all_pairs"]["absent"]
    assert result.rates.auc.interval is None
    assert "too narrow" in result.rates.caveats[0]


def test_embeddings_of_the_wrong_number_are_refused(tmp_path: Path) -> None:
    protocol = open_protocol("lfw", _write(tmp_path / "pairs.txt", VIEW2))
    with pytest.raises(UsageError, match="one embedding for each of 9 photos"):
        protocol.evaluate(lambda names: np.ones((3, 4)))
    with pytest.raises(UsageError, match="no completed mated or no completed non-mated"):
        protocol.evaluate(lambda names: np.full((9, 4), np.nan))


@pytest.mark.needs_faces
def test_folds_of_the_published_list(faces: Path) -> None:
    """View 2: every line of the list in its fold, counted off independently."""
    path = faces / "protocols" / "lfw_pairs.txt"
    protocol = open_protocol("lfw", path)
    assert len(protocol.pairs) == 6000
    assert len(protocol.photos) == 7701
    assert len(protocol.fold_names) == 10
    lines = path.read_text().splitlines()[1:]
    for number, (line, pair, fold) in enumerate(zip(lines, protocol.pairs, protocol.fold, strict=True)):
        fields = line.split("\t")
        assert pair.mated == (len(fields) == 3)
        assert fold == number // 600
        first = f"{fields[0]}/{fields[0]}_{int(fields[1]):04d}.jpg"
        other = fields[0] if pair.mated else fields[2]
        assert (pair.first, pair.second) == (first, f"{other}/{other}_{int(fields[-1]):04d}.jpg")
    # persons are not shared between folds: the lists are identity-disjoint as published
    folds = [
        {
            n.split("/")[0]
            for p, f in zip(protocol.pairs, protocol.fold, strict=True)
            if f == k
            for n in (p.first, p.second)
        }
        for k in range(10)
    ]
    assert all(not (a & b) for i, a in enumerate(folds) for b in folds[:i])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        view1 = open_protocol("lfw", "lfw_pairsDevTest.txt")
    assert (len(view1.pairs), len(view1.photos)) == (1000, 1549)
    assert "by the order of the list" in view1.folds_from
