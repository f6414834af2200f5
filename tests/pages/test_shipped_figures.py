"""What the pages say of the shipped student is what its file, its card and its learning curves say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from facekd.card import Card, read_card
from facekd.version import EARLIER_STUDENTS
from facekd.weights import shipped_model

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def shipped() -> Path:
    model = shipped_model()
    assert model is not None
    return model


@pytest.fixture(scope="module")
def card(shipped: Path) -> Card:
    return read_card(shipped)[0]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def last_leg() -> int:
    return max(int(file.stem.removeprefix("leg")) for file in (ROOT / "data/student").glob("leg*.json"))


def test_every_student_that_is_named_is_or_was_shipped(shipped: Path) -> None:
    named = {
        name
        for file in PAGES
        for name in re.findall(r"facekd-student-\d{4}-\d{2}[a-z]?", file.read_text(encoding="utf-8"))
    }
    assert shipped.stem in named
    assert named <= {shipped.stem, *EARLIER_STUDENTS}


def test_results_are_of_the_shipped_file(shipped: Path, card: Card) -> None:
    text = page("docs/results.md")
    assert f"It is `facekd/weights/{shipped.name}`" in text
    for fmr in ("0.001", "0.0001"):
        assert re.search(rf"\b{100 * card.metrics[f'tar_{fmr}']:.2f}\b", text), fmr
        assert re.search(rf"\b{100 * card.metrics[f'float32_tar_{fmr}']:.2f}\b", text), fmr
    for name in ("README.md", "docs/results.md"):
        (row,) = [line for line in page(name).splitlines() if re.match(r"\| student \|.* ms \|", line)]
        assert row.endswith(f"| {shipped.stat().st_size / 1e6:.2f} MB |"), name


def test_the_last_leg_is_in_the_table_of_legs_and_its_weights_are_kept() -> None:
    leg = last_leg()
    curve = json.loads(page(f"data/student/leg{leg}.json"))
    *_, row = re.findall(r"^\| \w+ leg: .*$", page("docs/results.md"), re.MULTILINE)
    assert f"{100 * curve[-1]['heldout_tar_1e-3']:.1f}" in row
    # beside them, where a leg that has not shipped yet goes on
    kept = {file.name for file in (ROOT / "data/student").glob("*.safetensors")}
    assert kept - {"begun.safetensors"} == {f"leg{leg}.safetensors"}
    if "begun.safetensors" in kept:
        begun = json.loads(page("data/student/begun.json"))
        assert f"{100 * begun[-1]['heldout_tar_1e-3']:.1f} %" in page("docs/results.md")
    for name in ("data/README.md", "docs/distill.md"):
        assert f"leg{leg}.safetensors" in page(name)


def test_the_photo_limits_in_the_table_are_the_cards(shipped: Path, card: Card) -> None:
    assert card.photo_limits is not None
    limits = {limit.reason: limit.limit for limit in card.photo_limits.limits}
    refused = sum(limit.refused for limit in card.photo_limits.limits)
    (row,) = [line for line in page("docs/calibrate.md").splitlines() if line.startswith(f"| {shipped.stem}")]
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    wanted = [f"{limits[reason]:.3g}" for reason in ("too_dark", "too_blurred", "too_noisy")]
    assert cells == [*wanted, f"{refused} of {card.photo_limits.photos}"]


def test_thresholds_shown_in_the_tutorial_are_the_cards(shipped: Path, card: Card) -> None:
    (line,) = [
        line for line in page("docs/tutorial.md").splitlines() if f"student ({shipped.stem}) enrolled" in line
    ]
    strictest = min(card.calibration, key=lambda entry: entry.fmr)
    assert f"threshold {strictest.threshold:.3f} (FMR {strictest.fmr:g}" in line
