"""What a demonstration shows of a model in use: the commands that an operator types, and counts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_photos import need_mtcnn
from tiny_model import write_tiny_model

from facekd.card import read_card
from facekd.verification import wilson
from facekd.weights import shipped_model
from facekd.workflows.demo_use import Claims, Counted, Used, shipped_note, use_model, used_sections
from facekd.workflows.thresholds import Threshold

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn people with three photos each, and one who has too few."""
    folder = tmp_path_factory.mktemp("photos")
    for person, count in (("person-0001", 3), ("person-0002", 2), ("person-0003", 3), ("person-0004", 3)):
        (folder / person).mkdir()
        for number in range(1, count + 1):
            shutil.copy(SAMPLES / person / f"000{number}.jpg", folder / person)
    return folder


def _used(photos: Path, folder: Path, model: Path, named: bool) -> Used:
    with pytest.MonkeyPatch.context() as patch:
        # neither this model nor these settings may choose what the page shows
        patch.setenv("FACEKD_MODEL", str(folder / "none.onnx"))
        patch.setenv("FACEKD_CONFIG", str(folder / "none.toml"))
        return use_model("shipped student", model, photos, folder, "-one", "mtcnn", named)


@pytest.fixture(scope="module")
def shipped(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Used:
    need_mtcnn()
    model = shipped_model()
    assert model is not None
    return _used(photos, tmp_path_factory.mktemp("out"), model, False)


def test_the_commands_are_an_operators_and_their_answers_true(shipped: Used) -> None:
    model = shipped_model()
    assert model is not None
    assert [call.command.split()[1] for call in shipped.calls] == ["enroll", "enroll", "verify", "verify"]
    for call in shipped.calls:
        assert "--model" not in call.command
        assert call.answer.startswith(f"model: {model.stem}\n")
    first, second, true, false = shipped.calls
    assert first.exit_code == 0
    assert "enrolled person-0001: 2 new" in first.answer
    card, _ = read_card(model)
    strictest = min(card.calibration, key=lambda entry: entry.fmr)
    told = f"threshold {strictest.threshold:.4f} (FMR {strictest.fmr:g} on {strictest.data})"
    assert f"--claim person-0001 {true.command.split()[4]}" in true.command
    assert told in true.answer
    assert true.exit_code == (0 if "same person as person-0001" in true.answer else 1)
    # whom it enrolls beside the first depends on the student
    other = second.command.split()[2]
    assert other in ("person-0003", "person-0004")
    claimed, shown = (other, "person-0001") if second.exit_code == 0 else ("person-0001", other)
    assert f"--claim {claimed}" in false.command
    assert f"{shown}/0003.jpg" in false.command


def test_somebody_who_is_not_enrolled_is_passed_over(photos: Path, tmp_path: Path) -> None:
    need_mtcnn()
    people = tmp_path / "people"
    shutil.copytree(photos, people)
    # the same files under another name, which are enrolled once
    shutil.copytree(people / "person-0001", people / "person-0001b")
    used = _used(people, tmp_path, write_tiny_model(tmp_path / "tiny.onnx"), True)
    words = [call.command.split() for call in used.calls]
    assert [one[1] for one in words] == ["enroll", "enroll", "verify", "verify"]
    assert [one[2] for one in words[:2]] == ["person-0001", "person-0003"]
    assert [call.exit_code for call in used.calls[:2]] == [0, 0]
    assert [one[3] for one in words[2:]] == ["person-0001", "person-0003"]


def test_the_false_claim_is_to_be_the_only_one_enrolled(photos: Path, tmp_path: Path) -> None:
    need_mtcnn()
    for copy in ("person-0001", "person-0001b"):
        shutil.copytree(photos / "person-0001", tmp_path / "people" / copy)
    used = _used(tmp_path / "people", tmp_path, write_tiny_model(tmp_path / "tiny.onnx"), True)
    assert [call.exit_code == 0 for call in used.calls[:2]] == [True, False]
    claims = [call.command.split()[3:5] for call in used.calls[2:]]
    assert [claim for claim, _ in claims] == ["person-0001", "person-0001"]
    assert [Path(photo).parent.name for _, photo in claims] == ["person-0001", "person-0001b"]
    assert all("not enrolled" not in call.answer for call in used.calls[2:])


def test_what_is_counted(shipped: Used) -> None:
    counted = shipped.counted
    assert counted is not None
    assert counted.enrolled == 3, "person-0002 has no third photo"
    assert (counted.true.total + counted.false.total, counted.undecided) == (6, 0)
    assert counted.threshold.fmr == 1e-4
    assert f"accepted {counted.true} true claims and {counted.false} false ones" in shipped.told()


def test_a_model_without_threshold_shows_its_commands_and_no_counts(photos: Path, tmp_path: Path) -> None:
    need_mtcnn()
    used = _used(photos, tmp_path, write_tiny_model(tmp_path / "tiny.onnx"), True)
    assert used.counted is None
    assert all(f"--model {tmp_path / 'tiny.onnx'}" in call.command for call in used.calls)
    assert used.calls[2].exit_code == 2
    assert "no threshold is known" in used.calls[2].answer
    (together, commands) = used_sections([used], ["A note."])
    assert together.paragraphs == ("A note.", used.told())
    assert together.tables == ()
    assert commands.calls == used.calls


def test_models_stand_side_by_side_with_intervals(shipped: Used) -> None:
    other = replace(shipped, title="distilled student", model="mine")
    together, *commands = used_sections([other, shipped], [])
    (table,) = together.tables
    assert [row[0].text for row in table.rows] == ["distilled student", "shipped student"]
    assert [row[0].note for row in table.rows] == ["mine", shipped.model]
    assert "FMR 0.0001 on" in table.rows[1][-1].note
    assert [section.title for section in commands] == [
        "Commands with the distilled student", "Commands with the shipped student",
    ]  # fmt: skip


def test_a_count_has_its_interval() -> None:
    bounds = wilson(9, 20)
    cell = Claims(9, 20).cell()
    assert cell.text == "9 of 20"
    assert cell.note == f"95 %: {100 * bounds.low:.0f} to {100 * bounds.high:.0f} %" == "95 %: 26 to 66 %"
    assert Claims(0, 0).cell().text == "none decided"


def _answered(accepted: int) -> Used:
    threshold = Threshold(0.4, "card", 1e-4, "real faces")
    counted = Counted(threshold, 20, Claims(20, 20), Claims(accepted, 20), 0)
    return Used("shipped student", "s", counted, ())


def test_the_page_says_where_drawn_people_are_taken_for_one_another() -> None:
    assert "it accepted 13 of 20 false claims" in shipped_note(_answered(13), drawn=True)
    told = shipped_note(_answered(0), drawn=True)
    assert "trained on real faces" in told
    assert "confuses" not in told
    assert "It has not been checked" in shipped_note(_answered(13), drawn=False)
