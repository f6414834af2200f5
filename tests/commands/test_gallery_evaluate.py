"""``facekd gallery evaluate``: crops of patterned people with a tiny model, and photos."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.card.contract import Calibration, Counts
from facekd.card.onnx_file import card_of, load_onnx, read_card, write_card
from facekd.errors import Exit
from facekd.gallery import Contract, GalleryRecords, Template
from facekd.runtime import load_embedder

ENROLLED = 12


def _rgb(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


def _embedded(model: Path, paths: list[Path]) -> np.ndarray:
    return load_embedder(model, threads=1).embed(np.stack([_rgb(path) for path in paths]))


def _enroll(gallery: Path, model: Path, people: dict[str, list[Path]]) -> Path:
    card = read_card(model)[0]
    contract = Contract(card.space, card.embedding.dim, card.name, "mtcnn", "facekd-five-points-2")
    with GalleryRecords(gallery, contract, create=True) as records, records.transaction():
        for name, paths in people.items():
            digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
            rows = _embedded(model, paths)
            records.add(name, [Template(row, sha, 1.0) for row, sha in zip(rows, digests, strict=True)])
    return gallery


@pytest.fixture
def staff(tmp_path: Path) -> Path:
    """A model, 24 people of whom 12 are enrolled with their first two photos, all their photos as
    probes."""
    model = write_tiny_model(tmp_path / "tiny.onnx")
    people = write_people(tmp_path / "probes", people=24, photos=6, noise=110)
    enrolled = {
        f"P{n:02d}": [people / f"P{n:02d}" / f"{photo}.png" for photo in (1, 2)] for n in range(ENROLLED)
    }
    _enroll(tmp_path / "staff.db", model, enrolled)
    return tmp_path


def _run(facekd: Callable, staff: Path, *more: object):
    return facekd(
        "gallery", "evaluate", "--gallery", staff / "staff.db", "--probes", staff / "probes",
        "--model", staff / "tiny.onnx", "--aligned", *more,
    )  # fmt: skip


def test_a_gallery_of_a_compatible_model(facekd: Callable, staff: Path) -> None:
    """The probes by one model, the templates by the other; the card's threshold is not used."""
    counts = Counts(mated=10, non_mated=10**6, false_matches=100, false_non_matches=1)
    entry = Calibration(
        fmr=1e-4, threshold=0.5, low=5e-5, high=2e-4, data="held-out", counts=counts,
        detector="mtcnn", aligner="a",
    )  # fmt: skip
    other = write_tiny_model(staff / "other.onnx", seed=1, calibration=(entry,))
    call = (
        "gallery", "evaluate", "--gallery", staff / "staff.db", "--probes", staff / "probes",
        "--model", other, "--aligned", "--json",
    )  # fmt: skip
    assert facekd(*call).code == Exit.MISFIT
    network, space = load_onnx(other), read_card(staff / "tiny.onnx")[0].space
    card = card_of(network, "other")[0].model_copy(update={"compatible_with": (space,)})
    write_card(network, card, other)
    ran = facekd(*call)
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    assert told["at_threshold"] is None
    assert any("the thresholds of other do not apply" in note for note in told["notes"])
    templates = {}
    for n in range(ENROLLED):
        files = [staff / "probes" / f"P{n:02d}" / f"{k}.png" for k in (1, 2)]
        templates[f"P{n:02d}"] = _embedded(staff / "tiny.onnx", files).mean(0)
    names, first = list(templates), 0
    for name in names:
        rows = _embedded(other, [staff / "probes" / name / f"{k}.png" for k in range(3, 7)])
        scores = rows @ np.array([row / np.linalg.norm(row) for row in templates.values()]).T
        first += int((scores.argmax(axis=1) == names.index(name)).sum())
    assert told["ranks"][0]["rate"] == pytest.approx(first / 48)


def test_against_scores_of_its_own(facekd: Callable, staff: Path) -> None:
    ran = _run(facekd, staff, "--json")
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    templates, mated, non_mated = {}, [], []
    for n in range(ENROLLED):
        mean = _embedded(
            staff / "tiny.onnx", [staff / "probes" / f"P{n:02d}" / f"{k}.png" for k in (1, 2)]
        ).mean(0)
        templates[f"P{n:02d}"] = mean / np.linalg.norm(mean)
    for folder in sorted((staff / "probes").iterdir()):
        first = 3 if folder.name in templates else 1
        for row in _embedded(staff / "tiny.onnx", [folder / f"{k}.png" for k in range(first, 7)]):
            for name, template in templates.items():
                (mated if name == folder.name else non_mated).append(float(row @ template))
    assert told["comparisons"] == {
        "mated": len(mated), "non_mated": len(non_mated), "failed_mated": 0, "failed_non_mated": 0,
    }  # fmt: skip
    assert (len(mated), len(non_mated)) == (12 * 4, 12 * 4 * 11 + 12 * 6 * 12)
    assert told["unknown"] == [f"P{n:02d}" for n in range(12, 24)]
    # 1,392 comparisons cannot show a rate of 1e-2, and the card has no threshold
    assert told["at_threshold"] is None
    assert {point["tar"] for point in told["operating_points"]} == {None}
    left_out = {entry["photo"]: entry["reason"] for entry in told["photos"]["left_out"]}
    assert left_out == {
        f"P{n:02d}/{k}.png": f"enrolled itself, of P{n:02d}" for n in range(12) for k in (1, 2)
    }
    assert "was made with detector mtcnn, this is none (aligned crops given)" in ran.err
    assert told["ranks"][0]["searches"] == 48


def test_the_cards_threshold_is_the_operating_one(facekd: Callable, staff: Path) -> None:
    counts = Counts(mated=9, non_mated=9, false_matches=0, false_non_matches=0)
    entry = Calibration(
        fmr=1e-3, threshold=0.6, low=0, high=1, data="others", counts=counts, detector="mtcnn", aligner="x"
    )
    write_tiny_model(staff / "tiny.onnx", calibration=(entry,))
    ran = _run(facekd, staff)
    assert ran.code == Exit.DONE, ran.err
    assert "Operating threshold: 0.6000, of the card at FMR 0.001 on others" in ran.out
    told = json.loads(_run(facekd, staff, "--json").out)
    at = told["at_threshold"]
    assert at["false_matches"] == sum(pair["matches"] for pair in at["confusions"])
    assert sum(person["mated"] for person in at["people"]) == 48
    assert len(at["people"]) == 24


def test_a_picture(facekd: Callable, staff: Path) -> None:
    ran = _run(facekd, staff, "--plot", staff / "roc.svg")
    assert ran.code == Exit.DONE, ran.err
    assert "<svg" in (staff / "roc.svg").read_text()


def test_photos_that_are_no_probes(facekd: Callable, staff: Path) -> None:
    """The same file twice, under two people, and one that is no image."""
    probes = staff / "probes"
    (probes / "P20" / "copy.png").write_bytes((probes / "P20" / "1.png").read_bytes())
    (probes / "P21" / "of-another.png").write_bytes((probes / "P22" / "1.png").read_bytes())
    (probes / "P23" / "broken.png").write_bytes(b"nothing")
    told = json.loads(_run(facekd, staff, "--json").out)
    left_out = {e["photo"]: e["reason"] for e in told["photos"]["left_out"] if "enrolled" not in e["reason"]}
    assert left_out == {
        "P20/copy.png": "the same file as P20/1.png",
        "P21/of-another.png": "the same file under several people",
        "P22/1.png": "the same file under several people",
    }
    assert told["photos"]["failures_to_acquire"] == [{"photo": "P23/broken.png", "reason": "unreadable"}]
    assert told["failures_to_acquire"]["failed"] == 1


def test_a_gallery_of_another_model(facekd: Callable, staff: Path) -> None:
    write_tiny_model(staff / "tiny.onnx", seed=1)
    ran = _run(facekd, staff, "--json")
    assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (Exit.MISFIT, "misfit")
    assert "is incompatible with" in ran.err


def test_nobody_enrolled_and_no_gallery(facekd: Callable, staff: Path) -> None:
    _enroll(staff / "empty.db", staff / "tiny.onnx", {})
    rest = ("--probes", staff / "probes", "--model", staff / "tiny.onnx", "--aligned")
    ran = facekd("gallery", "evaluate", "--gallery", staff / "empty.db", *rest)
    assert (ran.code, "nobody is enrolled" in ran.err) == (Exit.USAGE, True)
    ran = facekd("gallery", "evaluate", "--gallery", staff / "absent.db", *rest)
    assert (ran.code, "no such gallery" in ran.err) == (Exit.IO, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gallery", "staff.db", "--model", "tiny.onnx"], "Missing option '--probes'"),
        (["--gallery", "staff.db", "--model", "tiny.onnx", "--probes", "absent"], "'absent' does not exist"),
        (["tiny.onnx", "--gallery", "staff.db", "--probes", "probes"], "unexpected extra argument"),
        (["--gallery", "staff.db", "--probes", "probes", "--model", "tiny.onnx", "--flip"], "No such option"),
    ],
)
def test_wrong_calls(
    facekd: Callable, staff: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(staff)
    monkeypatch.delenv("FACEKD_MODEL", raising=False)
    ran = facekd("gallery", "evaluate", *arguments)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert told in ran.err


def test_from_photos_after_enrolling(facekd: Callable, operator: Path, photos: Path, tmp_path: Path) -> None:
    """The model by the environment, as operators set it; Ann is enrolled, Ben is not, one photo is
    blank."""
    assert facekd("enroll", "Ann", photos / "a.jpg").code == Exit.DONE
    for name, file in (
        ("Ann/1.jpg", "b"),
        ("Ann/2.jpg", "a"),
        ("Ann/3.jpg", "blank"),
        ("Ben/1.jpg", "mirrored"),
    ):
        (tmp_path / "doors" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "doors" / name).write_bytes((photos / f"{file}.jpg").read_bytes())
    ran = facekd("gallery", "evaluate", "--gallery", operator, "--probes", tmp_path / "doors", "--json")
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    assert told["comparisons"] == {"mated": 1, "non_mated": 1, "failed_mated": 1, "failed_non_mated": 0}
    assert told["photos"]["failures_to_acquire"] == [{"photo": "Ann/3.jpg", "reason": "no_face"}]
    assert [entry["photo"] for entry in told["photos"]["left_out"]] == ["Ann/2.jpg"]
    assert "was made with" not in ran.err
