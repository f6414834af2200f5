"""Drills of section C: held-out names, teachers and changed inputs, none of which may mislead a run."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
from drill_list import Outcome, drill, fact, together
from drill_material import first_card, made_network, pixels_of
from drill_runs import (
    change,
    cut_run,
    facekd,
    made_place,
    stop_soon,
)
from drill_site import Site

# C1 ------------------------------------------------------------------------------------------------


@drill("C1", "check and train with held-out names that are typos", "exit 2; all of them are named")
def held_out_typos(site: Site) -> Outcome:
    place = made_place(site)
    (place / "heldout.txt").write_text("person-0001\npersn-0002\nperson-0003\nperson_0004\n")
    told = []
    for call in (("recipe", "check", "recipe.toml", "--data"), ("distill", "recipe.toml", "--run", "run")):
        told.append(facekd(site, place, *call).check(2, "persn-0002", "person_0004", never=("person-0001 ",)))
    return together(*told, fact(not (place / "run").exists(), "no run is begun"))


@drill("C1", "held-out names behind a byte order mark", "the first is held out like the others")
def byte_order_mark(site: Site) -> Outcome:
    place = made_place(site)
    plain = facekd(site, place, "recipe", "check", "recipe.toml", "--data")
    names = (place / "heldout.txt").read_text()
    (place / "heldout.txt").write_text("\ufeff" + names.replace("\n", "\r\n"), encoding="utf-8")
    marked = facekd(site, place, "recipe", "check", "recipe.toml", "--data")
    return together(plain.check(0), marked.check(0), fact(plain.out == marked.out, "the same crops"))


@drill(
    "C1",
    "lists of exclusions, merges and doubts that name nobody",
    "warnings with their number; says 'nothing'",
)
def lists_that_match_nobody(site: Site) -> Outcome:
    place = made_place(site, heldout_line=(
        'heldout = "heldout.txt"',
        'heldout = "heldout.txt"\nexclude = ["out.txt"]\nmerge = "merge.csv"\ndoubts = "doubts.csv"',
    ))  # fmt: skip
    (place / "out.txt").write_text("nobody-1\nnobody-2\n")
    (place / "merge.csv").write_text("label,merge_into\nnobody-3,nobody-4\n")
    (place / "doubts.csv").write_text("pack,crop\ncrops,nobody/1.webp\n")
    ran = facekd(site, place, "recipe", "check", "recipe.toml", "--data")
    named = [name for name in ("out.txt", "merge.csv", "doubts.csv") if name in ran.err]
    return together(ran.check(0, "note:"), fact(len(named) == 3, f"warned of {', '.join(named)}"))


# C2 ------------------------------------------------------------------------------------------------


@drill(
    "C2",
    "resume after the teacher, its card, a crop or the recipe changed",
    "exit 2 that names it, each; then goes on",
)
def resume_mixes_nothing(site: Site) -> Outcome:
    place = cut_run(site)
    metrics = (place / "run" / "metrics.jsonl").read_bytes()
    changes: tuple[tuple[str, Callable[[Site, Path], None]], ...] = (
        ("the teacher (", _other_teacher),
        ("the teacher (", _other_card),
        ("the training crops (", _other_crop),
        ("augmentation.shift", _other_recipe),
    )
    told, kept = [], site.new("kept") / "place"
    place.rename(kept)
    for word, make in changes:
        shutil.copytree(kept, place, symlinks=True)  # under the old name: recipes hold whole paths
        make(site, place)
        ran = facekd(site, place, "distill", "recipe.toml", "--run", "run", "--resume")
        told.append(ran.check(2, "was started with", word))
        same = (place / "run" / "metrics.jsonl").read_bytes() == metrics
        told.append(fact(same, "nothing is logged"))
        shutil.rmtree(place)
    kept.rename(place)
    same_place = facekd(
        site, place, "distill", "recipe.toml", "--run", "run", "--resume", after=stop_soon(place, 400)
    )
    return together(*told, same_place.check((0, 143)))


def _other_teacher(site: Site, place: Path) -> None:
    made_network(place / "teacher.onnx", seed=9)
    first_card(site, place / "teacher.onnx")


def _other_card(_: Site, place: Path) -> None:
    from facekd.card import InputSpec, load_onnx, read_card, write_card

    card = read_card(place / "teacher.onnx")[0].model_copy(update={"input": InputSpec(colour="bgr")})
    write_card(load_onnx(place / "teacher.onnx"), card, place / "teacher.onnx")


def _other_crop(_: Site, place: Path) -> None:
    held = set((place / "heldout.txt").read_text().split())
    file = next(one for one in sorted((place / "crops").glob("*/*")) if one.parent.name not in held)
    cv2.imwrite(str(file.with_suffix(".png")), 255 - pixels_of(file))
    file.with_suffix(".png").rename(file)


def _other_recipe(_: Site, place: Path) -> None:
    file = place / "recipe.toml"
    file.write_text(file.read_text().replace("shift = 2.0", "shift = 4.0"))


# C3 ------------------------------------------------------------------------------------------------


@drill(
    "C3",
    "train from a teacher without a card",
    "check, output and log say how it is read; its own TAR comes first",
)
def teacher_without_a_card(site: Site) -> Outcome:
    place = made_place(site)
    import onnx

    bare = onnx.load(place / "teacher.onnx")
    del bare.metadata_props[:]
    onnx.save(bare, place / "teacher.onnx")
    checked = facekd(site, place, "recipe", "check", "recipe.toml")
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run")
    log = (place / "run" / "train.log").read_text() if ran.code == 0 else ""
    said = ran.err + ran.out
    own, training = said.find("held-out TAR"), said.find("training plainres on")
    return together(
        checked.check(0, "convention"), ran.check(0, "convention"),
        fact("convention" in log, "the log says so"),
        fact(0 <= own < training, "the teacher's own TAR is said before training"),
    )  # fmt: skip


@drill("C3", "train from a teacher that tells nobody apart; then with floor = 0",
       "exit 2 that names the floor, no run; trained")  # fmt: skip
def teacher_below_the_floor(site: Site) -> Outcome:
    place = made_place(site)
    made_network(place / "teacher.onnx", noise=True)
    first_card(site, place / "teacher.onnx")
    refused = facekd(site, place, "distill", "recipe.toml", "--run", "run")
    begun = (place / "run").exists()
    change(place, ("floor = 0.2", "floor = 0.0"))
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run")
    return together(
        refused.check(2, "hardly tells", "floor"), fact(not begun, "no run is begun"), ran.check(0)
    )


@drill(
    "C3",
    "ov_reid_0095 without a card as the teacher",
    "exit 2, hardly tells the held-out people apart",
    faces=True,
)
def real_teacher_read_wrongly(site: Site) -> Outcome:
    assert site.faces is not None
    place = made_place(site)
    shutil.copy(site.faces / "models" / "ov_reid_0095.onnx", place / "teacher.onnx")
    pack = site.faces / "train-labelled-1.zip"
    with zipfile.ZipFile(pack) as members:
        there = {name.split("/")[0] for name in members.namelist()}
    names = (site.faces / "protocols" / "heldout_identities.txt").read_text().split()
    (place / "heldout.txt").write_text("\n".join([name for name in names if name in there][:40]))
    change(place, ('labelled = ["crops"]', f'labelled = ["{pack}"]\nshare = 0.01'))
    return facekd(site, place, "distill", "recipe.toml", "--run", "run").check(2, "hardly tells")


@drill("C3", "a card whose landmark template is in fractions", "exit 2 that says so", short=True)
def template_in_fractions(site: Site) -> Outcome:
    model = Path(shutil.copy(site.model, site.new()))
    template = "[[0.34,0.46],[0.66,0.46],[0.5,0.64],[0.37,0.82],[0.63,0.82]]"
    before = model.read_bytes()
    ran = site.facekd("card", model, "--set", f"crop.template={template}")
    return together(ran.check(2, "fractions"), fact(model.read_bytes() == before, "the model is as it was"))
