"""``--report`` of what measures: the page of every kind of evaluation, read as a browser would."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.card.onnx_file import read_card
from facekd.errors import Exit
from facekd.gallery import Contract, GalleryRecords, Template
from facekd.runtime import load_embedder

PEOPLE, PHOTOS = 30, 4


class Page(HTMLParser):
    """Titles, images by kind, captions and the text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.titles: list[str] = []
        self.images: list[dict[str, str]] = []
        self.words: list[str] = []
        self._in = ""
        self.feed(self.html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        if tag == "img":
            self.images.append({key: value or "" for key, value in attrs})

    def handle_data(self, data: str) -> None:
        if self._in != "style":
            self.words.append(data)
        if self._in == "h2" and data.strip():
            self.titles.append(data)

    def faces(self) -> list[np.ndarray]:
        jpeg = [i["src"] for i in self.images if i["src"].startswith("data:image/jpeg")]
        return [
            cv2.imdecode(np.frombuffer(base64.b64decode(src.partition(",")[2]), np.uint8), 1) for src in jpeg
        ]

    def drawn(self) -> list[str]:
        return [i["alt"].split(" ")[0] for i in self.images if i["src"].startswith("data:image/svg")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"), PEOPLE, PHOTOS, noise=70)


def _pairs(path: Path, seed: int = 0, count: int = 1200) -> Path:
    """Pairs of the photos of ``people``, half of them mated."""
    random = np.random.default_rng(seed)
    lines = ["path1,path2,label"]
    for place in range(count):
        a, b = random.choice(PHOTOS, 2, replace=False) + 1
        one = random.integers(PEOPLE)
        other = one if place % 2 else (one + random.integers(1, PEOPLE)) % PEOPLE
        lines.append(f"P{one:02d}/{a}.png,P{other:02d}/{b}.png,{int(one == other)}")
    path.write_text("\n".join(lines))
    return path


def _check_alone(page: Page) -> None:
    """It asks for nothing from anywhere, and names no folder of this machine."""
    assert not re.search(r"https?://|@import|url\(|<script", page.html)
    assert "default-src 'none'" in page.html
    assert all(image["src"].startswith("data:image/") and len(image["alt"]) > 10 for image in page.images)


def test_a_list_of_pairs(facekd: Callable, model: Path, people: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other.onnx", seed=1)
    data = tmp_path / "crops"
    write_people(data, PEOPLE, PHOTOS, noise=70)
    (data / "P03" / "1.png").write_bytes(b"broken")
    (data / "P04" / "2.png").unlink()
    ran = facekd(
        "evaluate", model, other, "--data", data, "--aligned", "--pairs", _pairs(tmp_path / "pairs.csv"),
        "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    assert "page written to" in ran.err
    page = Page(tmp_path / "r.html")
    _check_alone(page)
    assert str(tmp_path) not in page.html
    assert page.titles == [
        "What was measured", "Numbers", "Which model is better?", "Pictures", "Hardest for tiny",
        "Hardest for other", "How to read this page",
    ]  # fmt: skip
    for told in ("pairs.csv", "none (aligned crops given)", "unreadable", "P03/1.png", "P04/2.png"):
        assert told in page.text
    assert "not in the pack" in page.text
    assert "Failures to acquire 2 1.67 % of the photos named" in page.text
    # every cell of the table in the terminal is on the page
    for cell in re.findall(r"\d+\.\d\d(?: ± \d+\.\d\d| to \d+\.\d\d)", ran.out):
        assert cell in page.text
    assert "other is " in page.text
    assert "no folds listed: 10 by the order of the list" in page.text
    assert page.drawn() == ["ROC", "DET", "FMR", "Histogram", "Histogram"]
    assert len(page.faces()) == 2 * 2 * 16
    assert "This page shows faces from the data." in page.text


def test_the_numbers_are_those_of_the_document(
    facekd: Callable, model: Path, people: Path, tmp_path: Path
) -> None:
    other = write_tiny_model(tmp_path / "other.onnx", seed=1)
    ran = facekd(
        "evaluate", model, other, "--data", people, "--aligned", "--pairs", _pairs(tmp_path / "pairs.csv"),
        "--csv", tmp_path / "n.csv", "--json",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    assert "numbers written to" in ran.err
    with (tmp_path / "n.csv").open(newline="") as file:
        rows = {(row["model"], row["measure"]): row["value"] for row in csv.DictReader(file)}
    for told in json.loads(ran.out)["models"]:
        name = told["name"]
        assert float(rows[name, "accuracy.mean"]) == told["accuracy"]["mean"]
        for fold in told["folds"]:
            assert float(rows[name, f"folds[fold={fold['fold']}].accuracy"]) == fold["accuracy"]
        for point in told["operating_points"]:
            value = rows[name, f"operating_points[fmr={point['fmr']}].tar"]
            assert (float(value) if value else None) == point["tar"]


def test_the_hardest_are_shown(facekd: Callable, model: Path, people: Path, tmp_path: Path) -> None:
    ran = facekd(
        "evaluate", model, "--data", people, "--aligned", "--pairs", _pairs(tmp_path / "pairs.csv"),
        "--report", tmp_path / "r.html", "--scores", tmp_path / "s.csv",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    page = Page(tmp_path / "r.html")
    lines = [line.split(",") for line in (tmp_path / "s.csv").read_text().splitlines()[1:]]
    mated = sorted((float(score), one, other) for score, label, one, other in lines if label == "1")
    score, one, other = mated[0]
    assert f"mated, score {score:.4f} {one} {other}" in page.text
    highest = max((float(score), one, other) for score, label, one, other in lines if label == "0")
    assert f"non-mated, score {highest[0]:.4f} {highest[1]} {highest[2]}" in page.text
    for face, name in zip(page.faces(), (one, other), strict=False):
        crop = cv2.imread(str(people / name)).astype(float)
        assert np.abs(face - crop).mean() < 12, "the photo that is named, but for the JPEG"


def test_two_models_together(facekd: Callable, model: Path, people: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other.onnx", seed=1)
    ran = facekd(
        "compatibility", model, other, "--data", people, "--aligned", "--pairs",
        _pairs(tmp_path / "pairs.csv"), "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    page = Page(tmp_path / "r.html")
    _check_alone(page)
    assert page.titles == [
        "What was measured", "Are the two compatible?", "Numbers", "Which model is better?", "Pictures",
        "How to read this page",
    ]  # fmt: skip
    for told in ("tiny to other", "other to tiny", "Thresholds do not carry over", "compatible"):
        assert told in page.text
    for cell in re.findall(r"\d+\.\d\d(?: ± \d+\.\d\d| to \d+\.\d\d)", ran.out):
        assert cell in page.text
    assert page.drawn()[0] == "ROC"
    assert not page.faces()


def test_a_gallery(facekd: Callable, model: Path, tmp_path: Path) -> None:
    people = write_people(tmp_path / "probes", people=24, photos=10, noise=110)
    (people / "P03" / "9.png").write_bytes(b"broken")
    contract = Contract(read_card(model)[0].space, 32, "tiny", "mtcnn", "facekd-five-points-2")
    embedder = load_embedder(model, threads=1)
    with GalleryRecords(tmp_path / "staff.db", contract, create=True) as records, records.transaction():
        for folder in sorted(people.iterdir())[:18]:
            file = folder / "1.png"
            row = embedder.embed(cv2.imread(str(file))[None, ..., ::-1])[0]
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            records.add(folder.name, [Template(row, digest, 1.0)])
    ran = facekd(
        "gallery", "evaluate", "--gallery", tmp_path / "staff.db", "--probes", people, "--model", model,
        "--aligned", "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    page = Page(tmp_path / "r.html")
    _check_alone(page)
    assert str(tmp_path) not in page.html
    assert page.titles == [
        "What was measured", "Numbers", "Pictures", "Who is missed, who is confused", "How to read this page",
    ]  # fmt: skip
    for told in ("staff.db", "none (aligned crops given)", "enrolled itself 18", "unreadable 1 P03/9.png"):
        assert told in page.text
    assert "This page names people." in page.text
    assert page.drawn() == ["ROC", "DET", "FMR", "CMC", "Open"]
    assert not page.faces()
    assert re.search(r"tiny misses \d+\.\d\d % of the photos of enrolled people", page.text)
    # every rate and every name that the terminal prints is on the page
    for cell in re.findall(r"\d+\.\d\d(?: to \d+\.\d\d)|P\d\d \(not enrolled\)|\d+ of \d+", ran.out):
        assert cell in page.text, cell


def test_people_with_groups(facekd: Callable, model: Path, people: Path, tmp_path: Path) -> None:
    lines = [f"P{p:02d}/{n}.png,{'odd' if p % 2 else 'even'}" for p in range(PEOPLE) for n in (1, 2, 3, 4)]
    (tmp_path / "groups.csv").write_text("\n".join(["photo,group", *lines]))
    ran = facekd(
        "evaluate", model, "--protocol", "people", "--data", people, "--aligned", "--groups",
        tmp_path / "groups.csv", "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    page = Page(tmp_path / "r.html")
    _check_alone(page)
    assert page.titles == [
        "What was measured", "Numbers", "Pictures", "Hardest comparisons", "By group",
        "How to read this page",
    ]  # fmt: skip
    assert "odd 60" in page.text
    assert [i["alt"].partition(" of tiny")[0] for i in page.images[-2:]] == [
        "Heat map of the FMR", "Heat map of the mean non-mated score",
    ]  # fmt: skip
    assert page.drawn()[0] == "ROC"
    assert len(page.faces()) == 2 * 16
    assert "FNIR" not in page.text
    assert "accuracy" not in page.text


def test_identification(facekd: Callable, model: Path, tmp_path: Path) -> None:
    write_people(tmp_path / "all", PEOPLE, PHOTOS, noise=90)
    for person in range(PEOPLE):
        for photo in range(1, PHOTOS + 1):
            role = "unknown" if person >= 20 else "gallery" if photo < 3 else "probe"
            there = tmp_path / "set" / role / f"P{person:02d}" / f"{photo}.png"
            there.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "all" / f"P{person:02d}" / f"{photo}.png").rename(there)
    ran = facekd(
        "evaluate", model, "--protocol", "identification", "--data", tmp_path / "set", "--aligned",
        "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    page = Page(tmp_path / "r.html")
    _check_alone(page)
    assert page.titles == [
        "What was measured", "Numbers", "Pictures", "Hardest comparisons", "How to read this page",
    ]  # fmt: skip
    # 40 unknown photos: the open set is drawn from 30 false positives on
    assert page.drawn() == ["CMC", "Open"]
    assert "tiny finds the right person first in" in page.text
    assert "FNIR@FPIR" in page.text
    assert "AUC" not in page.text
    assert len(page.faces()) == 2 * 16
    assert re.search(r"non-mated, score 0\.\d{4} unknown/P2\d/\d\.png P[01]\d", page.text)


@pytest.mark.parametrize("listed", [True, False])
def test_templates(facekd: Callable, model: Path, people: Path, tmp_path: Path, listed: bool) -> None:
    lines = ["template,person,photo"]
    for p in range(PEOPLE):
        lines += [f"{part}{p},P{p},P{p:02d}/{n}.png" for part, n in (("a", 1), ("a", 2), ("b", 3), ("b", 4))]
    (tmp_path / "templates.csv").write_text("\n".join(lines))
    if listed:
        pairs = [f"a{p},b{q}" for p in range(PEOPLE) for q in range(p, min(p + 8, PEOPLE))]
        (tmp_path / "templates_pairs.csv").write_text("\n".join(["template1,template2", *pairs]))
    ran = facekd(
        "evaluate", model, "--protocol", "templates", "--data", people, "--aligned", "--pairs",
        tmp_path / "templates.csv", "--report", tmp_path / "r.htm",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    page = Page(tmp_path / "r.htm")
    _check_alone(page)
    assert len(page.faces()) == 2 * 16
    assert re.search(r"mated, score -?\d\.\d{4} a\d+ b\d+", page.text)
    assert ("AUC" in page.text) == listed


def test_scores_alone(facekd: Callable, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = [f"{random.normal(30 * (n % 2), 10):.3f},{n % 2}" for n in range(8000)]
    (tmp_path / "s.csv").write_text("\n".join(["score,label", *lines]))
    ran = facekd("evaluate-scores", tmp_path / "s.csv", "--report", tmp_path / "r.html")
    assert ran.code == Exit.DONE, ran.err
    page = Page(tmp_path / "r.html")
    _check_alone(page)
    assert page.titles == ["What was measured", "Numbers", "Pictures", "How to read this page"]
    assert page.drawn() == ["ROC", "DET", "FMR", "Histogram"]
    assert "model, detector and photos are not known" in page.text
    assert "Wilson" in page.text
    assert page.faces() == []
    assert "Read this first" not in page.text


@pytest.mark.parametrize(
    ("name", "told"),
    [("r.pdf", "a page must end with .html"), ("absent/r.html", "its folder does not exist")],
)
def test_where_no_page_can_be_written(
    facekd: Callable, model: Path, people: Path, tmp_path: Path, name: str, told: str
) -> None:
    ran = facekd(
        "evaluate", model, "--protocol", "people", "--data", people, "--aligned", "--report", tmp_path / name
    )
    assert ran.code == Exit.USAGE
    assert told in ran.err
    assert ran.out == ""
