"""``facekd degrade`` through the command line: patterned crops with a tiny model, and photos."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.card.contract import PhotoLimit, PhotoLimits, Sample
from facekd.card.onnx_file import card_of, load_onnx, write_card
from facekd.errors import Exit
from facekd.preprocess.degradations import CLEAN, DEGRADATIONS
from facekd.preprocess.face_quality import sharpness
from facekd.runtime import load_embedder
from facekd.verification.protocols import open_protocol
from facekd.workflows.robustness import photo_seed

PEOPLE, PHOTOS = 20, 4


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("degrade")
    write_people(folder / "crops", PEOPLE, PHOTOS, noise=60)
    lines = ["path1,path2,label"]
    for p in range(PEOPLE):
        for n in range(1, PHOTOS):
            lines.append(f"P{p:02d}/{n}.png,P{p:02d}/{n + 1}.png,1")
            lines.append(f"P{p:02d}/{n}.png,P{(p + n) % PEOPLE:02d}/{n + 1}.png,0")
    (folder / "pairs.csv").write_text("\n".join(lines))
    write_tiny_model(folder / "tiny.onnx")
    write_tiny_model(folder / "other.onnx", seed=1)
    return folder


def _run(facekd: Callable, drawn: Path, *more: object):
    return facekd(
        "degrade", drawn / "tiny.onnx", "--data", drawn / "crops", "--pairs", drawn / "pairs.csv",
        "--aligned", *more,
    )  # fmt: skip


def _embedded(drawn: Path, degradation) -> np.ndarray:
    """Embeddings of the list's photos, made worse here."""
    photos = open_protocol("pairs", drawn / "pairs.csv").photos
    crops = [
        degradation.apply(
            np.ascontiguousarray(cv2.imread(str(drawn / "crops" / p))[..., ::-1]), photo_seed(p)
        )
        for p in photos
    ]
    return load_embedder(drawn / "tiny.onnx", threads=1).embed(np.stack(crops))


def test_both_sides_against_the_protocol_alone(facekd: Callable, drawn: Path) -> None:
    ran = _run(facekd, drawn, "--json")
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    assert (told["degraded"], told["photos"]["failures_to_acquire"]) == ("both", [])
    (model,) = told["models"]
    listed = (CLEAN, *DEGRADATIONS)
    assert [(d["kind"], d["level"]) for d in model["degradations"]] == [(d.kind, d.level) for d in listed]
    protocol = open_protocol("pairs", drawn / "pairs.csv")
    for place in (0, 3, 12, 18, 20):
        rows = _embedded(drawn, listed[place])
        expected = protocol.evaluate(lambda _, rows=rows: rows)
        assert model["degradations"][place]["accuracy"]["mean"] == pytest.approx(expected.accuracy.mean)
    clean, worst = (model["degradations"][place]["accuracy"]["mean"] for place in (0, 14))
    assert worst < clean


def test_one_side_leaves_the_first_photo_alone(facekd: Callable, drawn: Path) -> None:
    told = json.loads(_run(facekd, drawn, "--one-side", "--json").out)
    assert told["degraded"] == "second"
    place = next(i for i, d in enumerate((CLEAN, *DEGRADATIONS)) if d.name == "occlusion, mask")
    clean, masked = _embedded(drawn, CLEAN), _embedded(drawn, (CLEAN, *DEGRADATIONS)[place])
    protocol = open_protocol("pairs", drawn / "pairs.csv")
    where = {name: index for index, name in enumerate(protocol.photos)}
    scores = np.array([clean[where[p.first]] @ masked[where[p.second]] for p in protocol.pairs])
    mated = np.array([p.mated for p in protocol.pairs])
    from facekd.verification.accuracy import cross_validate, summarise

    folds, _ = cross_validate(scores, mated, protocol.fold, protocol.fold_names)
    found = told["models"][0]["degradations"]
    assert found[place]["accuracy"]["mean"] == pytest.approx(summarise(folds).mean)
    both = json.loads(_run(facekd, drawn, "--json").out)["models"][0]["degradations"]
    assert found[0]["accuracy"] == both[0]["accuracy"]


def test_two_models_as_text_with_a_picture(facekd: Callable, drawn: Path, tmp_path: Path) -> None:
    ran = facekd(
        "degrade", drawn / "tiny.onnx", drawn / "other.onnx", "--data", drawn / "crops",
        "--pairs", drawn / "pairs.csv", "--aligned", "--plot", tmp_path / "worse.svg",
        "--report", tmp_path / "worse.html",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    for words in ("tiny: in %", "other: in %", "face size, 14 pixels", "sunglasses", "Degraded: both photos"):
        assert words in ran.out
    assert "<svg" in (tmp_path / "worse.svg").read_text()
    page = (tmp_path / "worse.html").read_text(encoding="utf-8")
    # a picture of each kind, every row of both tables with its interval, and no face
    assert page.count("<figure>") == len({d.kind for d in DEGRADATIONS})
    assert page.count('<th scope="row">rotation, 40 degrees</th>') == 2
    for cell in re.findall(r"\d+\.\d\d to \d+\.\d\d", ran.out):
        assert f"<small>{cell}</small>" in page
    assert "image/jpeg" not in page


def test_a_page_that_is_none_is_refused_first(facekd: Callable, drawn: Path, tmp_path: Path) -> None:
    ran = _run(facekd, drawn, "--report", tmp_path / "worse.txt")
    assert ran.code == Exit.USAGE
    assert "a page must end with .html" in ran.err


def test_limits_in_the_card_refuse_and_what_is_left_is_counted(
    facekd: Callable, drawn: Path, tmp_path: Path
) -> None:
    """Against the measure of each crop made worse here. All pairs are listed, so that the clean crops have
    a threshold at FMR 0.01."""
    names = [f"P{p:02d}/{n}.png" for p in range(PEOPLE) for n in range(1, PHOTOS + 1)]
    every = [f"{a},{b},{int(a[:3] == b[:3])}" for a, b in itertools.combinations(names, 2)]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *every]))
    photos = {n: np.ascontiguousarray(cv2.imread(str(drawn / "crops" / n))[..., ::-1]) for n in names}
    # half of the photos are too blurred at sigma 2
    limit = float(np.median([sharpness(cv2.GaussianBlur(crop, (0, 0), 2)) for crop in photos.values()]))
    blurred = PhotoLimit(reason="too_blurred", limit=limit, refused=0)
    limits = PhotoLimits(
        limits=(blurred,), fmr=1e-2, threshold=0.5, photos=80,
        data="people", sample=Sample(people=20, photos=80, digest="0" * 64), detector="none", aligner="a",
        date="2026-01-01",
    )  # fmt: skip
    model = load_onnx(drawn / "tiny.onnx")
    card = card_of(model, "tiny")[0].model_copy(update={"photo_limits": limits})
    write_card(model, card, tmp_path / "limited.onnx")
    given = ("--data", drawn / "crops", "--pairs", tmp_path / "pairs.csv", "--aligned")
    both = (tmp_path / "limited.onnx", drawn / "other.onnx")
    told = json.loads(facekd("degrade", *both, *given, "--one-side", "--json").out)
    limited, other = (model["degradations"] for model in told["models"])
    assert {row["refused"] for row in other} == {None}
    protocol = open_protocol("pairs", tmp_path / "pairs.csv")
    for place, degradation in enumerate((CLEAN, *DEGRADATIONS)):
        worse = {photo: degradation.apply(photos[photo], photo_seed(photo)) for photo in protocol.photos}
        soft = {photo: sharpness(crop) < limit for photo, crop in worse.items()}
        assert limited[place]["refused"] == pytest.approx(np.mean([*soft.values()]))
        left = [pair for pair in protocol.pairs if not soft[pair.second]]
        within = limited[place]["at_clean_threshold_within_limits"]
        assert (within["mated"] + within["non_mated"] if within else 0) == len(left)
    assert {row["refused"] for row in limited} >= {0.0, 0.5, 1.0}
    text = facekd("degrade", tmp_path / "limited.onnx", *given).out
    assert "refused" in text
    assert "none left" in text
    assert "Refused: share of the degraded photos beyond the limits" in text


def test_lost_crops_are_told(facekd: Callable, drawn: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(drawn / "crops", tmp_path / "crops")
    (tmp_path / "crops" / "P03" / "1.png").unlink()
    (tmp_path / "crops" / "P04" / "1.png").write_bytes(b"nothing")
    ran = facekd(
        "degrade", drawn / "tiny.onnx", "--data", tmp_path / "crops", "--pairs", drawn / "pairs.csv",
        "--aligned", "--json",
    )  # fmt: skip
    assert json.loads(ran.out)["photos"]["failures_to_acquire"] == [
        {"photo": "P03/1.png", "reason": "missing"}, {"photo": "P04/1.png", "reason": "unreadable"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--data", "crops"], Exit.USAGE, "Missing argument 'MODEL"),
        (["tiny.onnx"], Exit.USAGE, "Missing option '--data'"),
        (
            ["tiny.onnx", "--data", "crops", "--protocol", "people"],
            Exit.USAGE,
            "does not list pairs of photos",
        ),
        (
            ["tiny.onnx", "--data", "crops", "--pairs", "pairs.csv", "--plot", "x.doc"],
            Exit.USAGE,
            "a picture",
        ),
        (["tiny.onnx", "--data", "empty", "--pairs", "pairs.csv", "--aligned"], Exit.USAGE, "none of the 80"),
        (["tiny.onnx", "--data", "large", "--pairs", "pairs.csv", "--aligned"], Exit.MISFIT, "128 x 128"),
        (["box.onnx", "--data", "crops", "--pairs", "pairs.csv", "--aligned"], Exit.MISFIT, "box crops"),
    ],
)
def test_wrong_calls(
    facekd: Callable,
    drawn: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: Exit,
    told: str,
) -> None:
    (drawn / "empty").mkdir(exist_ok=True)
    if "large" in arguments and not (drawn / "large").exists():
        write_people(drawn / "large", PEOPLE, PHOTOS, size=128)
    if "box.onnx" in arguments:
        import shutil

        shutil.copy(drawn / "tiny.onnx", drawn / "box.onnx")
        assert facekd("card", drawn / "box.onnx", "--set", 'crop={"kind":"box","size":112}').code == Exit.DONE
    monkeypatch.chdir(drawn)
    ran = facekd("degrade", *arguments)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_from_photos(facekd: Callable, photos: Path, tiny: Path, tmp_path: Path) -> None:
    """A face is found once, then its crop made worse; clean crops give what evaluate gives."""
    rows = ["path1,path2,label"]
    for one, two in (("a", "b"), ("a", "c"), ("b", "c")):
        rows += [f"{one}.jpg,{two}.jpg,1", f"{one}.jpg,mirrored.jpg,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    common = (tiny, "--data", photos, "--pairs", tmp_path / "pairs.csv", "--json")
    ran = facekd("degrade", *common)
    assert ran.code == Exit.DONE, ran.err
    clean = json.loads(ran.out)["models"][0]["degradations"][0]
    whole = json.loads(facekd("evaluate", *common).out)["models"][0]
    assert clean["accuracy"] == whole["accuracy"]
    assert clean["listed_pairs"] == whole["operating_points"]
