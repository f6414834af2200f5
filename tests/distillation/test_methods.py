"""Every method from a recipe: it learns, resumes, and sees the crops that it should."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file
from small_run import TEACHER, recipe, run

from facekd.distillation import read_recipe, training_crops
from facekd.errors import Misfit, RecipeError, UsageError
from facekd.export import export
from facekd.models import build_model, to_planes
from facekd.runtime import load_embedder
from facekd.training import load_weights
from facekd.training.data.sampler import EpochOrder
from facekd.workflows import check_training_data

METHODS = {
    "mse": (),
    "one_vs_rest": (),
    "dkd": (),
    "gkd": (),
    "dist": (),
    "prototypes": (),
    "adadistill": (),
    "rkd": ("rkd_distance", "rkd_angle"),
    "sp": (),
    "pkt": (),
    "cckd": (),
    "ekd": (),
    "margin_distillation": (),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_from_a_recipe_and_resumes(place: Path, name: str) -> None:
    losses = f'[[loss]]\nname = "{name}"\n'
    chosen = recipe(place, losses=losses, long=("images = 96", "images = 480"))
    run(place, "run", chosen, stop_after=40)
    records = run(place, "run", chosen, resume=True)
    found = [r for r in records if "loss" in r]
    for term in METHODS[name] or (name,):
        assert found[-1][term] < found[0][term], term
    assert found[-1]["step"] == 60


@pytest.mark.parametrize("name", ["fitnet", "attention"])
def test_maps_of_a_torch_teacher_teach(place: Path, name: str) -> None:
    arcface = '[[loss]]\nname = "arcface"\n'
    run(place, "large", recipe(place, teacher="", losses=arcface, n=("images = 96", "images = 16")))
    teacher = f'[teacher]\nmodels = ["{place / "large"}"]\ntargets = "online"\n'
    chosen = recipe(place, teacher, f'[[loss]]\nname = "{name}"\n', long=("images = 96", "images = 480"))
    found = [r for r in run(place, "small", chosen) if "loss" in r]
    assert found[-1][name] < found[0][name]
    with pytest.raises(RecipeError, match=r"needs feature maps: teacher.targets = .online"):
        recipe(place, TEACHER, f'[[loss]]\nname = "{name}"\n')
    with pytest.raises(RecipeError, match="this teacher has no feature maps"):
        recipe(place, TEACHER + 'targets = "online"\n', f'[[loss]]\nname = "{name}"\n')


def test_a_student_started_from_a_larger_run_stays_near_it(place: Path) -> None:
    arcface = '[[loss]]\nname = "arcface"\n'
    wide = ("widths = [8, 8, 16, 16]", "widths = [12, 8, 24, 32]")
    run(place, "large", recipe(place, teacher="", losses=arcface, n=("images = 96", "images = 16"), w=wide))
    large = load_weights(place / "large")
    settings = "settings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }"
    start = (settings, f'{settings}\nstart = "large"')
    near = '[[loss]]\nname = "cosine"\n[[loss]]\nname = "l2_sp"\nsettings = { alpha = 100.0 }\n'
    stayed = recipe(place, losses=near, s=start)
    went = recipe(place, losses='[[loss]]\nname = "cosine"\n', s=start)
    apart = {}
    for name, chosen in (("stayed", stayed), ("went", went)):
        run(place, name, chosen, stop_after=6)
        run(place, name, chosen, resume=True)  # the start is found again, not the checkpoint
        weights = load_weights(place / name, "last")["stage3.0.0.weight"]
        rows, columns = torch.linspace(0, 23, 16).round().long(), torch.arange(8)
        begun = large["stage3.0.0.weight"][rows][:, columns]
        apart[name] = float((weights - begun).norm() / begun.norm())
    assert apart["stayed"] < 0.7 * apart["went"]
    assert "tensors start as in large" in (place / "went" / "train.log").read_text()
    with pytest.raises(RecipeError, match=r"'l2_sp' needs .*\[student\] start"):
        recipe(place, losses=near)


def test_a_student_that_began_at_random_is_pulled_to_the_weights_of_another(place: Path) -> None:
    arcface = '[[loss]]\nname = "arcface"\n'
    run(place, "other", recipe(place, teacher="", losses=arcface, n=("images = 96", "images = 16")))
    theirs = load_weights(place / "other")
    settings = "settings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }"
    start = (settings, f'{settings}\nstart = "other"\nstart_by = "equal"\nblend = 0.0')
    changes = {"seed": ("seed = 3", "seed = 4"), "rate": ("[schedule]", "[schedule]\nrate = 1e-2")}
    cosine = '[[loss]]\nname = "cosine"\n'
    pull = cosine + '[[loss]]\nname = "l2_sp"\nsettings = { alpha = 100.0, beta = 0.0 }\n'
    pulled = recipe(place, losses=pull, s=start, **changes)
    plain = recipe(place, losses=cosine, **changes)
    first, apart = {}, {}
    for name, chosen in (("pulled", pulled), ("plain", plain)):
        records = run(place, name, chosen, stop_after=6)
        first[name] = next(r["cosine"] for r in records if "loss" in r)
        run(place, name, chosen, resume=True)  # what it is pulled to is found again
        weights = load_weights(place / name, "last")["stage3.0.0.weight"]
        apart[name] = float((weights - theirs["stage3.0.0.weight"]).norm())
    assert first["pulled"] == first["plain"]  # the same random start
    assert apart["pulled"] < 0.7 * apart["plain"]
    said = (place / "pulled" / "train.log").read_text()
    assert "tensors of other are used by l2_sp only, all start at random" in said
    wide = ("widths = [8, 8, 16, 16]", "widths = [8, 8, 16, 24]")
    with pytest.raises(Misfit, match=r"unequal shape .*stage4.0.0.weight is \[16, 16"):
        run(place, "wide", recipe(place, losses=pull, s=start, w=wide))


@pytest.mark.parametrize("match", ["linear", "mlp"])
def test_the_projector_stays_behind_at_export(place: Path, match: str) -> None:
    losses = f'[[loss]]\nname = "cosine"\nsettings = {{ match = "{match}" }}\n'
    run(place, "run", recipe(place, losses=losses, n=("images = 96", "images = 16")))
    left = load_file(place / "run" / "checkpoints" / "last" / "task.safetensors")
    assert any(32 in value.shape for value in left.values())  # the teacher's size, learned along
    pixels = np.random.default_rng(1).integers(0, 256, (64, 7, 7, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    (place / "more" / "somebody").mkdir(parents=True)
    for number, crop in enumerate(pixels):
        cv2.imwrite(str(place / "more" / "somebody" / f"{number:02}.png"), crop[..., ::-1])
    done = export(place / "run", data=[place / "more"])
    assert done.card.embedding.dim == 16
    shapes = [list(tensor.dims) for tensor in onnx.load(done.path).graph.initializer]
    assert [16, 16] in shapes  # the head's
    assert not any(32 in shape for shape in shapes)
    student = build_model("plainres", dim=16, widths=[8, 8, 16, 16], depths=[0, 0, 0, 0]).eval()
    student.load_state_dict(load_weights(place / "run"))
    with torch.inference_mode():
        rows = student(to_planes(pixels, student.input)).numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = load_embedder(done.path).embed(pixels)
    assert found.shape == (64, 16)
    np.testing.assert_allclose(found, rows, atol=1e-5)


def test_batches_of_people_and_a_cap_from_a_recipe(place: Path) -> None:
    sampling = ("[schedule]", "[sampling]\npeople = 4\ncrops = 2\n[schedule]")
    records = run(place, "run", recipe(place, s=sampling))
    assert records[-1]["images"] == 96
    assert records[-1]["distinct_views"] <= 16 * 2 * 2  # 16 crops, two views, mirrors
    text = (place / "recipe.toml").read_text()
    (place / "recipe.toml").write_text(text.replace("crops = 2", "crops = 3"))
    with pytest.raises(RecipeError, match="4 people with 3 crops each do not make a batch of 8"):
        read_recipe(place / "recipe.toml")
    capped = recipe(place, c=('heldout = "heldout.txt"', 'heldout = "heldout.txt"\ncap = 2'))
    assert len(training_crops(capped)) == 8


def test_distinct_views_are_counted_one_by_one(place: Path) -> None:
    """Six epochs of 16 crops in two cached views: each view three times, mirrored or not."""
    records = run(place, "run", recipe(place))
    order = EpochOrder(16, 2, 3, True)
    assert records[-1]["distinct_views"] == len({order.at(position) for position in range(96)})


def test_weighted_crops_from_a_recipe(place: Path) -> None:
    weights = ("[schedule]", '[sampling]\nweights = { "crops/p0" = 100.0 }\n[schedule]')
    everywhere = run(place, "all", recipe(place))[-1]["distinct_views"]
    assert run(place, "alone", recipe(place, s=weights))[-1]["distinct_views"] < 0.6 * everywhere
    mistyped = recipe(place, s=(weights[0], weights[1].replace("crops/p0", "crop/p0")))
    with pytest.raises(UsageError, match="no training crops in 'crop/p0'"):
        run(place, "mistyped", mistyped)
    assert not (place / "mistyped" / "metrics.jsonl").exists()  # before the teacher is judged
    with pytest.raises(UsageError, match="no training crops in 'crop/p0'"):
        check_training_data(mistyped, lambda text: None)
    recipe(place, s=weights)
    text = (place / "recipe.toml").read_text()
    (place / "recipe.toml").write_text(text.replace("[sampling]", "[sampling]\npeople = 4\ncrops = 2"))
    with pytest.raises(RecipeError, match=r"sampling.weights: batches of people"):
        read_recipe(place / "recipe.toml")


def test_the_baseline_without_a_teacher_keeps_the_weights_of_its_labelled_crops(place: Path) -> None:
    (place / "web").mkdir()
    shutil.copytree(place / "crops" / "p1", place / "web" / "any")
    both = '[sampling]\nweights = { "crops/p0" = 2.0, "web/any" = 0.5 }\n[schedule]'
    data = ('labelled = ["crops"]', 'labelled = ["crops"]\nunlabelled = ["web"]')
    alone = recipe(place, s=("[schedule]", both), d=data).without_teacher()
    assert alone.sampling.weights == {"crops/p0": 2.0}
    assert run(place, "alone", alone)[-1]["images"] == 96
