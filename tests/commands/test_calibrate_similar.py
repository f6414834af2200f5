"""``facekd calibrate --groups`` through the command line, and what ``card`` makes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.card import Calibration, Card, Counts, read_card
from facekd.errors import Exit
from facekd.preprocess import decode
from facekd.runtime import load_embedder

PEOPLE = 180


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_people(tmp_path_factory.mktemp("crops") / "strangers", PEOPLE, 1)
    shutil.copy(folder / "P01" / "1.png", folder / "P00" / "second.png")
    return folder


def group(number: int) -> str:
    return "tall" if number % 2 else "small"


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    file = tmp_path / "groups.csv"
    rows = [f"P{number:02d}/1.png,{group(number)}" for number in range(PEOPLE)]
    file.write_text("\n".join(["photo,group", *rows]))
    return file


@pytest.fixture
def model(tmp_path: Path) -> Path:
    counts = Counts(mated=10, non_mated=10_000, false_matches=10, false_non_matches=1)
    entry = Calibration(
        fmr=1e-2, threshold=0.4, low=0.005, high=0.02, data="made up", counts=counts, detector="none",
        aligner="none",
    )  # fmt: skip
    return write_tiny_model(tmp_path / "tiny.onnx", calibration=(entry,))


def test_the_card_gets_the_threshold_of_the_worst_group(
    facekd: Callable, crops: Path, groups: Path, model: Path
) -> None:
    before = read_card(model)[0]
    ran = facekd(
        "calibrate", model, "--data", crops, "--aligned", "--groups", groups, "--crop-detector", "yunet"
    )
    assert ran.code == Exit.DONE, ran.err
    card = read_card(model)[0]
    similar = card.similar
    assert similar is not None
    assert (similar.detector, similar.aligner) == ("yunet", "that of the crops")
    rows = load_embedder(model).embed(
        np.stack([decode(str(crops / f"P{n:02d}" / "1.png")).pixels for n in range(PEOPLE)])
    )
    scores = {}
    for place, name in enumerate(("small", "tall")):
        own = rows[place::2]
        scores[name] = np.sort((own @ own.T)[np.triu_indices(len(own), 1)])[::-1]
    (one,) = similar.thresholds
    allowed = int(1e-2 * scores["tall"].size)
    worst = max(scores, key=lambda name: scores[name][allowed])
    assert (one.fmr, one.group, one.people) == (1e-2, worst, PEOPLE // 2)
    assert scores[worst][allowed] < one.threshold <= scores[worst][allowed - 1]
    for measured in similar.groups:
        (rate,) = measured.rates
        assert rate.rate == pytest.approx((scores[measured.name] >= 0.4).mean())
    # nothing else is changed
    assert card.model_copy(update={"similar": None}) == before
    head, rate_line, *group_lines = ran.out.splitlines()
    assert head == "tiny on strangers: 180 people in 2 groups, 0 failures to acquire"
    assert rate_line.startswith(
        f"FMR 0.01 among similar people: threshold {one.threshold:.4f}, by {worst} (90"
    )
    assert [line.partition(":")[0] for line in group_lines] == ["small", "tall"]
    assert f"space {card.space[:12]} kept" in ran.err
    assert "1 photos left out, the first of them P00/second.png: no group" in ran.err
    assert f"similar       {one.threshold:.4f} at FMR 0.01 within {worst}" in facekd("card", model).out


def test_json_and_what_is_replaced(facekd: Callable, crops: Path, groups: Path, model: Path) -> None:
    call = ("calibrate", model, "--data", crops, "--aligned", "--groups", groups, "--json")
    first, again = facekd(*call), facekd(*call)
    told, similar = json.loads(again.out), read_card(model)[0].similar
    assert told["schema"] == "calibrate/1"
    assert told["similar"] == similar.model_dump(mode="json")
    assert json.loads(first.out)["replaced"] == []
    assert told["replaced"] == [{"fmr": 0.01, "data": "strangers"}]
    assert f"replaced: threshold {similar.thresholds[0].threshold:.4f} at FMR 0.01 within" in again.err
    # with it, a card belongs to the space that it was measured in
    facekd("card", model, "--set", "input.colour=bgr")
    assert read_card(model)[0].similar is None


def test_a_card_without_it_is_read_as_before(model: Path) -> None:
    card = read_card(model)[0]
    stored = json.loads(card.model_dump_json())
    del stored["similar"]
    assert Card.model_validate(stored) == card


@pytest.mark.parametrize(
    ("rows", "code", "told"),
    [
        ("photo,group\nP00/1.png,a\nP999/1.png,b", Exit.USAGE, "P999/1.png is not among the photos of"),
        ("photo,group\nP00/1.png,a\nP01/1.png,a", Exit.USAGE, "at least two groups are needed"),
        ("photo,group\nP00/1.png,a\nP02/1.png,a\nP03/1.png,b\nP05/1.png,b", Exit.USAGE, "has 2 people"),
        ("photo,sex\nP00/1.png,a", Exit.IO, "The first line must be photo,group"),
        ("photo,group\nP00/1.png,a\nP00/1.png,b", Exit.IO, "another group"),
        ("photo,group\n", Exit.USAGE, "names no photo"),
    ],
)
def test_files_of_groups_that_will_not_do(
    facekd: Callable, crops: Path, model: Path, tmp_path: Path, rows: str, code: Exit, told: str
) -> None:
    (tmp_path / "groups.csv").write_text(rows)
    before = model.read_bytes()
    ran = facekd("calibrate", model, "--data", crops, "--aligned", "--groups", tmp_path / "groups.csv")
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert told in ran.err
    assert model.read_bytes() == before
