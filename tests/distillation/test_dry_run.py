"""Values that make no sense are named before anything is loaded: networks and losses are rehearsed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import TEACHER, recipe

from facekd.cli.main import main
from facekd.distillation.losses import loss_class, loss_names
from facekd.distillation.recipe_changes import told_changes
from facekd.distillation.recipe_files import Missing, missing_files
from facekd.distillation.recipe_reading import check_recipe, read_recipe
from facekd.errors import RecipeError, UsageError
from facekd.export.measured_crops import measured_crops
from facekd.models import rehearse_model

ARCFACE = [{"name": "arcface"}]
NET = {"dim": 16, "widths": [8, 8, 16, 16], "depths": [0, 0, 0, 0]}


def document(*losses: dict[str, Any], **tables: Any) -> dict[str, Any]:
    plain = {
        "data": {"labelled": ["crops"]},
        "student": {"settings": NET},
        "teacher": {"models": ["teacher.onnx"]},
        "loss": list(losses or [{"name": "cosine"}]),
        "schedule": {"images": 96, "batch": 8},
    }
    return plain | tables


def told(raw: dict[str, Any], base: Path = Path()) -> list[str]:
    """The faults that an error lists."""
    with pytest.raises(RecipeError) as error:
        check_recipe(raw, "mine", base)
    first, *faults = error.value.cause.splitlines()
    assert first == f"mine: {len(faults)} fault(s)"
    return [fault.removeprefix("  ") for fault in faults]


def of_loss(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "settings": settings}


def test_a_dozen_wrong_values_are_listed_at_once(place: Path) -> None:
    raw = document(
        of_loss("logit", temperature=-1),
        of_loss("logit", temperature="warm"),
        of_loss("dkd", target_probability=2, temperature="auto"),
        of_loss("gkd", mass=1),
        of_loss("cosine", match="svd"),
        of_loss("arcface", scale=-1),
        of_loss("cosface", scale="big"),
        of_loss("ekd", fmrs=[2]),
        of_loss("l2_sp"),
        student={"name": "iresnet18", "settings": {"dim": 16}},
        teacher={"models": ["nonsense"], "gate": 0.5, "rule": "clean-view"},
        schedule={"images": 5, "batch": 8, "start_size": 64},
    )
    faults = told(raw, place)
    expected = (
        "schedule: 5 images in batches of 8 make no step",
        "schedule.start_size: the student takes 112 pixels only",
        "teacher.gate: it has no effect with rule = ",
        "loss 'logit': temperature (a number or auto) and scale must be above zero",
        "loss 'logit': temperature = \"warm\" should be a valid number or 'auto'",
        "loss 'dkd': target_probability must be between 0 and 1",
        "loss 'gkd': mass must be between 0 and 1",
        "loss 'cosine': match = \"svd\" should be 'linear', 'mlp' or 'pca'",
        "loss 'arcface': scale must be above zero",
        "loss 'cosface': scale = \"big\" should be a valid number",
        "loss 'ekd': fmrs must be between 0 and 1",
        "loss 'l2_sp' needs ",
        "teacher.models: nonsense does not exist",
    )
    assert len(faults) == len(expected)
    for fault, begun in zip(faults, expected, strict=True):
        assert fault.startswith(begun)


@pytest.mark.parametrize(
    ("tables", "fault"),
    [
        ({"student": {"settings": {"dim": "x"}}}, "student: model 'plainres': dim = \"x\" should be"),
        ({"student": {"settings": {"dmi": 8}}}, "student: model 'plainres' has no setting 'dmi' (it"),
        ({"student": {"settings": {"widths": [8, 8]}}}, "student: model 'plainres' cannot be built with "),
        # built, but a crop does not come out at the other end
        (
            {"student": {"settings": {"widths": [8] * 5, "depths": [0] * 5}}},
            "student: model 'plainres' cannot be built with ",
        ),
        ({"student": {"name": "plainers"}}, "student: no model is named 'plainers'"),
        (
            {"teacher": {"network": "iresnet18", "settings": {"dropout": 2.0}, "loss": ARCFACE}},
            "teacher: model 'iresnet18' cannot be built with {'dropout': 2.0}",
        ),
        (
            {"teacher": {"network": "plainres", "settings": NET, "loss": [of_loss("arcface", margin=-1)]}},
            "teacher.loss 'arcface': scale must be above zero and margin not negative",
        ),
        ({"teacher": {"models": ["timm:x"]}}, "teacher.models: timm:x: write timm:NAME:FILE"),
        (
            {"schedule": {"images": 96, "batch": 8, "rate": float("inf")}},
            "schedule.rate: should be a finite number, not Infinity",
        ),
        ({"schedule": {"images": "5", "batch": "8"}}, 'schedule.images: should be a whole number, not "5"'),
    ],
)
def test_wrong_networks_and_schedules(tables: dict[str, Any], fault: str) -> None:
    assert [line for line in told(document(**tables)) if line.startswith(fault)]


def test_a_loss_that_says_one_thing_at_a_time_is_asked_again() -> None:
    faults = told(document(of_loss("arcface", margin=-1, sample=5, scale="big"), teacher=None))
    assert [fault for fault in faults if "arcface" in fault] == [
        "loss 'arcface': scale = \"big\" should be a valid number",
        "loss 'arcface': scale must be above zero and margin not negative",
        "loss 'arcface': sample must be above 0 and at most 1",
    ]
    # one fault of two settings together is one fault
    faults = told(document(of_loss("margin_distillation", low=0.6, high=0.1)))
    assert [f for f in faults if "margin" in f] == ["loss 'margin_distillation': high must be at least low"]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": "auto"},
        {"temperature": "auto", "target_probability": 0.01, "standardise": True},
        # over a million classes it may well be found, over the rehearsal's it is not
        {"temperature": "auto", "target_probability": 1e-5},
        {"temperature": 4, "scale": 32},
    ],
)
def test_what_only_the_data_can_tell_is_no_fault(settings: dict[str, Any]) -> None:
    check_recipe(document(of_loss("logit", **settings)), "mine")


def test_maps_are_checked_where_they_are_known() -> None:
    online = {"models": ["run"], "targets": "online"}
    unknown = document(of_loss("fitnet", student="stage2", teacher="layer7"), teacher=online)
    check_recipe(unknown, "mine")
    (fault,) = (
        f for f in told(document(of_loss("fitnet", student="stage9"), teacher=online)) if "fitnet" in f
    )
    assert fault.endswith("no feature map 'stage9' (it has: stage1, stage2, stage3, stage4)")
    learns = {"network": "plainres", "settings": NET, "loss": ARCFACE}
    faults = told(document(of_loss("attention", teacher="layer7"), teacher=learns))
    assert "loss 'attention': the teacher has no feature map 'layer7'" in " ".join(faults)
    both = {"models": ["one.onnx", "two"], "targets": "online"}
    check_recipe(document({"name": "fitnet", "teacher": 2}, teacher=both), "mine")
    assert "this teacher has no feature maps" in " ".join(
        told(document({"name": "fitnet", "teacher": 1}, teacher=both))
    )


@pytest.mark.parametrize("name", loss_names())
def test_every_loss_passes_as_it_comes(name: str) -> None:
    """By its defaults a loss makes sense, whatever the rehearsal gives it."""
    raw = document({"name": name}, student={"settings": NET, "start": "large"})
    raw["teacher"] |= {
        "models": ["large"],
        "targets": "online" if loss_class(name).needs_features else "cached",
    }
    state = torch.random.get_rng_state()
    assert check_recipe(raw, "mine").loss[0].name == name
    assert torch.equal(torch.random.get_rng_state(), state)  # a check draws nothing from a run's chance


def test_a_rehearsed_network_tells_the_shapes_of_its_maps() -> None:
    maps = rehearse_model("plainres", NET).maps
    widths_and_sizes = zip(NET["widths"], (56, 28, 14, 7), strict=True)
    assert list(maps.values()) == [(width, size, size) for width, size in widths_and_sizes]
    with pytest.raises(UsageError, match="cannot be built"):
        rehearse_model("plainres", {"dim": -1})


def test_a_run_with_such_a_recipe_never_asks_the_teacher(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe(place)
    file = place / "recipe.toml"
    good = file.read_text()
    file.write_text(good.replace('name = "logit"', 'name = "logit"\nsettings = { temperature = -1 }'))
    assert file.read_text() != good
    monkeypatch.setenv("FACEKD_CACHE", str(place / "cache"))
    # first the module that imports the name: loaded later, it would keep the replacement for other tests
    for module in ("facekd.workflows.train", "facekd.models.teachers"):
        monkeypatch.setattr(f"{module}.load_teacher", lambda *_, **__: pytest.fail("was loaded"))
    monkeypatch.setattr(
        "facekd.distillation.preparation.training_crops", lambda *_: pytest.fail("crops were read")
    )
    assert main(["distill", str(file), "--run", str(place / "run")]) == 2
    assert "temperature (a number or auto) and scale must be above zero" in capsys.readouterr().err
    assert not (place / "run").exists()
    assert not (place / "cache").exists()


def test_files_that_are_not_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (recipe(place), (place / "recipe.toml").read_text())[1]
    file = place / "other.toml"
    # alone: not the recipe's fault, but no run can be made of it
    file.write_text(text.replace("teacher.onnx", "nonsense").replace('["crops"]', '["crops", "more"]'))
    assert missing_files(read_recipe(file)) == [
        Missing("data.labelled", str(place / "more")), Missing("teacher.models", "nonsense"),
    ]  # fmt: skip
    assert main(["recipe", "check", str(file)]) == 5
    said = capsys.readouterr().err
    assert f"{place / 'more'}, nonsense" in said
    assert "timm:NAME:FILE" in said
    # with other faults: in one list with them
    file.write_text(
        file.read_text().replace('name = "cosine"', 'name = "cosine"\nsettings = { match = "svd" }')
    )
    assert main(["recipe", "check", str(file)]) == 2
    said = capsys.readouterr().err
    for part in (
        "3 fault(s)",
        "match = ",
        "data.labelled: more does not exist",
        "teacher.models: nonsense does",
    ):
        assert part in said
    # relative to the recipe, whatever the kind of teacher
    (place / "large").mkdir()
    for spec in ("large", "timm:resnet18:teacher.onnx", "inception:vggface2"):
        file.write_text(text.replace("teacher.onnx", spec))
        assert missing_files(read_recipe(file)) == []
    # what is measured on the run's people needs no teacher
    file.write_text(text.replace("teacher.onnx", "gone.onnx"))
    assert len(measured_crops([file], None).any)
    file.write_text(text.replace('["crops"]', '["nowhere"]'))
    with pytest.raises(UsageError, match="crops that do not exist"):
        measured_crops([file], None)


def test_what_changed_is_named_a_handful_and_the_rest_counted(place: Path) -> None:
    before = recipe(place)
    assert told_changes(before, recipe(place)) is None
    raw = before.model_dump(mode="json")
    more = copy.deepcopy(raw)
    more["loss"] = [{**raw["loss"][0], "weight": 2.0}, raw["loss"][1], {"name": "sp"}]
    more["student"]["settings"] = NET | {"dim": 8}
    said = told_changes(before, check_recipe(more, "mine"))
    assert said is not None
    first, second, third = said.split(", ", 2)
    assert (first, second) == ("student.settings.dim 16 -> 8", "loss 1.weight 1.0 -> 2.0")
    assert third.startswith('loss 3 none -> {"name": "sp", ')
    raw["teacher"] = None
    raw["loss"] = ARCFACE
    assert (told_changes(before, check_recipe(raw, "mine")) or "").startswith('teacher {"models": [')
    raw = before.model_dump(mode="json")
    raw["schedule"] |= {
        "images": 8,
        "batch": 4,
        "rate": 1.0,
        "decay": 0.1,
        "warmup": 0.5,
        "clip": 1.0,
        "ema": 0.9,
    }
    said = told_changes(before, check_recipe(raw, "mine"))
    assert said == (
        "schedule.images 96 -> 8, schedule.batch 8 -> 4, schedule.rate 0.002 -> 1.0, "
        "schedule.decay 0.05 -> 0.1, schedule.warmup 0.05 -> 0.5 and 2 more"
    )


def test_a_teacher_that_is_there_passes(place: Path) -> None:
    assert recipe(place, TEACHER + "gate = 0.3\n").teacher is not None
    with pytest.raises(RecipeError, match="it has no effect with rule"):
        recipe(place, TEACHER + 'gate = 0.3\nrule = "clean-view"\n')
