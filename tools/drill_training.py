"""Drills of section C, and of sections A and B for runs: no student is silently trained wrongly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from drill_material import evaluated_people, first_card, made_network, pixels_of
from drill_site import EVALUATE, TRAININGS_SPACE, Outcome, Ran, Site, drill, end, fact, fill, together

RECIPE = """
seed = 3
[data]
labelled = ["crops"]
heldout = "heldout.txt"
[student]
name = "plainres"
settings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }
[teacher]
models = ["teacher.onnx"]
floor = 0.2
[augmentation]
shift = 2.0
[[loss]]
name = "cosine"
[schedule]
images = 96
batch = 8
evaluations = 3
precision = "float32"
"""
HELD_OUT = 20
LONG = (("images = 96", "images = 48000"), ("evaluations = 3", "evaluations = 200"))


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


# C4 and C5 -----------------------------------------------------------------------------------------


@drill(
    "C4",
    "a second run with --force in the folder of a run in progress",
    "exit 2, in use; the first goes on alone",
)
def two_runs_in_one_folder(site: Site) -> Outcome:
    place = made_place(site, *LONG)
    first = begin(site, place, "--workers", "0")
    try:
        wait_for_step(first, place, 3)
        second = facekd(site, place, "distill", "recipe.toml", "--run", "run", "--force")
        resumed = facekd(site, place, "distill", "recipe.toml", "--run", "run", "--resume")
        at = last_step(place)
        wait_for_step(first, place, at + 3)
        alive = first.poll() is None
        first.send_signal(signal.SIGTERM)
        first.wait(120)
    finally:
        end(first)
    steps = [line["step"] for line in metrics_of(place) if "loss" in line]
    return together(
        second.check(2, "is in use"), resumed.check(2, "is in use"),
        fact(alive, "the first goes on"),
        fact(steps == sorted(set(steps)), "metrics.jsonl holds one run"),
    )  # fmt: skip


@drill(
    "C5",
    "SIGTERM and SIGINT to a run with two decoding processes",
    "143 and 130, a checkpoint, no process left",
)
def asked_to_stop(site: Site) -> Outcome:
    told = []
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        place = made_place(site, *LONG)
        process = begin(site, place, "--workers", "2")
        told += _stopped(process, place, number, code)
        step = checkpoint_step(place)
        told.append(fact(step > 0, "a checkpoint is there"))
    return together(*told)


@drill(
    "C5",
    "SIGKILL to a run with two decoding processes",
    "no process left, stdout closed, goes on with --resume",
)
def killed(site: Site) -> Outcome:
    place = made_place(site, *LONG)
    process = begin(site, place, "--workers", "2")
    told = _stopped(process, place, signal.SIGKILL, -9)
    resumed = facekd(site, place, "distill", "recipe.toml", "--run", "run", "--resume", "--workers", 0,
                     after=stop_soon(place, last_step(place) + 40))  # fmt: skip
    return together(*told, resumed.check(143, "continue with --resume"))


def _stopped(
    process: subprocess.Popen[bytes], place: Path, number: signal.Signals, code: int
) -> list[Outcome]:
    """The remains of a training run after the signal."""
    try:
        # the first checkpoint is there after 30 steps
        wait_for_step(process, place, 35)
        started = session_of(process.pid)
        process.send_signal(number)
        process.wait(90)
        left = time.monotonic() + 30
        while session_of(process.pid) and time.monotonic() < left:
            time.sleep(0.1)
        behind = session_of(process.pid)
        open_end = _open_end(process) if not behind else ""
    finally:
        end(process)
    # whose parent was killed may say so
    quiet = number == signal.SIGKILL or "Traceback" not in open_end
    return [
        fact(process.returncode == code, f"{number.name}: exit {process.returncode}"),
        fact(len(started) >= 3 and not behind, f"{len(started)} processes, {len(behind)} left"),
        fact(quiet, "stdout is closed" if quiet else open_end[-300:]),
    ]


def _open_end(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.read().decode("utf-8", "replace")


# checkpoints ---------------------------------------------------------------------------------------


@drill("A11", "kill -9 a run with a checkpoint every few steps, four times, and go on",
       "'best' is the best of all, 'last' is whole, no half folder is left")  # fmt: skip
def checkpoints_survive_kills(site: Site) -> Outcome:
    place = made_place(site, ("images = 96", "images = 1600"), ("evaluations = 3", "evaluations = 100"))
    options: tuple[str, ...] = ("--workers", "0")
    for at in (21, 62, 101, 150):
        process = begin(site, place, *options)
        with suppress(TimeoutError):
            wait_for_step(process, place, at)
        end(process)
        options = ("--workers", "0", "--resume")
    (place / "run" / "checkpoints" / ".step-7.new").mkdir()
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run", *options)
    scores = [line[_SCORE] for line in metrics_of(place) if _SCORE in line]
    best = json.loads((place / "run" / "checkpoints" / "best" / "state.json").read_text()).get(_SCORE)
    hidden = [one.name for one in (place / "run" / "checkpoints").iterdir() if one.name.startswith(".")]
    return together(
        ran.check(0), fact(best is not None and best == max(scores), f"best {best}, of {len(scores)} looks"),
        fact(not hidden, f"left behind: {hidden or 'nothing'}"),
    )  # fmt: skip


_SCORE = "heldout_tar_1e-3"


@drill("A13", "the learning rate of the first step of a run", "above 0")
def first_step_learns(site: Site) -> Outcome:
    place = made_place(site, ("images = 96", "images = 800"))
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run")
    rates = [line["rate"] for line in metrics_of(place) if "rate" in line]
    told = f"{rates[0]:.2g}, later {max(rates):.2g}" if rates else "none is logged"
    return together(ran.check(0), fact(bool(rates) and 0 < rates[0] < max(rates), told))


@drill("A13", "a run in Python that stops after four steps of eight images", "32 images are returned")
def images_that_were_seen(site: Site) -> Outcome:
    place = made_place(site)
    ran = site.python(
        "from pathlib import Path; from facekd.distillation import SILENT, read_recipe, run_recipe\n"
        "o = run_recipe(read_recipe(Path('recipe.toml')), Path('run'), SILENT,"
        " cache=Path('cache'), workers=0, stop_after=4)\nprint(o.images, 'images')",
        cwd=place, space=TRAININGS_SPACE,
    )  # fmt: skip
    return ran.check(0, "32 images")


# C6 ------------------------------------------------------------------------------------------------


@drill("C6", "export, calibrate and evaluate a student on the pack that it was trained on",
       "refused (2), refused (2), said")  # fmt: skip
def thresholds_from_people_trained_on(site: Site) -> Outcome:
    place = finished_run(site)
    exported = facekd(site, place, "export", "run", "--data", "crops", "--out", "never.onnx")
    good = facekd(site, place, "export", "run", "--out", "student.onnx")
    calibrated = facekd(
        site, place, "calibrate", "student.onnx", "--data", "crops", "--aligned", "--out", "no.onnx"
    )
    judged = site.facekd(*evaluated_people(place / "student.onnx", place / "crops"), cwd=place)
    return together(
        exported.check(2, "was trained on it"), good.check(0),
        calibrated.check(2, "was trained on it"), judged.check(0, "trained on"),
    )  # fmt: skip


@drill("C6", "copies of held-out crops under other names, encoded again and mirrored",
       "counted and named by 'recipe check --data', counted before a run")  # fmt: skip
def copies_of_held_out_crops(site: Site) -> Outcome:
    place = made_place(site, ("images = 96", "images = 320"))
    held, *_ = (place / "heldout.txt").read_text().split()
    theirs = [pixels_of(one) for one in sorted((place / "crops" / held).iterdir())[:2]]
    mine = place / "crops" / "person-0030"
    cv2.imwrite(str(mine / "again.jpg"), theirs[0], [cv2.IMWRITE_JPEG_QUALITY, 70])
    cv2.imwrite(str(mine / "mirrored.png"), theirs[1][:, ::-1])
    checked = facekd(site, place, "recipe", "check", "recipe.toml", "--data", "--json")
    found = {one["crop"] for one in checked.document().get("heldout_copies", ())}
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run")
    planted = {"crops/person-0030/again.jpg", "crops/person-0030/mirrored.png"}
    return together(
        checked.check(0), fact(planted <= found, f"listed: {', '.join(sorted(found))}"),
        ran.check(0, "copies of held-out crops"),
    )  # fmt: skip


# C7 ------------------------------------------------------------------------------------------------


@drill("C7", "show and renew the card of a network that changed under it",
       "exit 2 or 5 that says --renew; then it verifies again without thresholds")  # fmt: skip
def a_card_is_renewed(site: Site) -> Outcome:
    import onnx
    from onnx import numpy_helper

    work = site.new()
    network = onnx.load(site.model)
    first = next(one for one in network.graph.initializer if one.data_type == onnx.TensorProto.FLOAT)
    changed = numpy_helper.to_array(first) * np.float32(1.0001)
    first.CopyFrom(numpy_helper.from_array(changed, first.name))
    onnx.save(network, work / "m.onnx")
    a, b = site.ann[:2]
    refused = site.facekd("verify", a, b, "--model", work / "m.onnx")
    renewed = site.facekd("card", work / "m.onnx", "--renew")
    strict = site.facekd("verify", a, b, "--model", work / "m.onnx")
    given = site.facekd("verify", a, b, "--model", work / "m.onnx", "--threshold", "0.3")
    return together(
        refused.check((2, 4, 5), "--renew"), renewed.check(0, "threshold     none measured"),
        strict.check(2, "calibrate"), given.check(0, "same person"),
    )  # fmt: skip


# C8 ------------------------------------------------------------------------------------------------


@drill(
    "C8",
    "crops that are no images, empty, cut short and of another size",
    "exit 5; all are listed once, no run",
)
def bad_crops(site: Site) -> Outcome:
    place = made_place(site)
    held = set((place / "heldout.txt").read_text().split())
    files = [one for one in sorted((place / "crops").glob("*/*")) if one.parent.name not in held][:8]
    files[0].write_bytes(b"not an image")
    files[2].write_bytes(b"")
    files[4].write_bytes(files[4].read_bytes()[:500])
    cv2.imwrite(str(files[6].with_suffix(".png")), np.zeros((100, 100, 3), np.uint8))
    names = [str(files[k].relative_to(place)) for k in (0, 2, 4)] + [f"{files[6].stem}.png"]
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run", "--workers", 2)
    checked = facekd(site, place, "recipe", "check", "recipe.toml", "--data")
    return together(
        ran.check(5, "4 of", *names), checked.check(5, "4 of", *names),
        fact(not (place / "run").exists(), "no run is begun"),
        fact(all(ran.err.count(name) == 1 for name in names), "each is named once"),
    )  # fmt: skip


@drill("C8", "a pack without folders beside held-out names, an all-black pack, one identity for ArcFace",
       "a clear sentence each, exit 2 or 5")  # fmt: skip
def packs_that_teach_nothing(site: Site) -> Outcome:
    flat = made_place(site)
    with zipfile.ZipFile(flat / "flat.zip", "w") as pack:
        for number, crop in enumerate(sorted((flat / "crops").glob("*/*"))[:40]):
            pack.write(crop, f"{number}.webp")
    change(flat, ('labelled = ["crops"]', 'labelled = ["flat.zip"]'))
    black = made_place(site)
    for crop in sorted((black / "crops").glob("*/*")):
        cv2.imwrite(str(crop.with_suffix(".png")), np.zeros((112, 112, 3), np.uint8))
        crop.unlink()
    one = made_place(site, ('heldout = "heldout.txt"\n', ""), ('name = "cosine"', 'name = "arcface"'),
                     ('[teacher]\nmodels = ["teacher.onnx"]\nfloor = 0.2\n', ""))  # fmt: skip
    for person in sorted((one / "crops").iterdir())[1:]:
        shutil.rmtree(person)
    return together(
        facekd(site, flat, "distill", "recipe.toml", "--run", "run").check((2, 5), never=("internal",)),
        facekd(site, black, "distill", "recipe.toml", "--run", "run").check((2, 5), "of one colour"),
        facekd(site, one, "train", "recipe.toml", "--run", "run").check((2, 5), "one identity"),
    )


@drill("C8", "fewer crops than a batch", "trained, and a note says so")
def fewer_than_a_batch(site: Site) -> Outcome:
    place = made_place(site, ("batch = 8", "batch = 96"))
    return facekd(site, place, "distill", "recipe.toml", "--run", "run").check(0, "fewer than a batch")


# C9 ------------------------------------------------------------------------------------------------


@drill(
    "C9",
    "a disk that fills up while a run trains",
    "exit 5, 'the disk is full'; with room it goes on from the last",
)
def full_disk_at_a_checkpoint(site: Site) -> Outcome:
    place = made_place(site, *LONG)
    with site.small_disk(8) as disk:
        (place / "run").symlink_to(disk / "run")

        def fill_up(process: subprocess.Popen[bytes]) -> None:
            # the first checkpoint is there after 30 steps
            wait_for_step(process, place, 35)
            fill(disk)

        ran = facekd(
            site, place, "distill", "recipe.toml", "--run", disk / "run", "--workers", 0, after=fill_up
        )
        step = checkpoint_step(place)
        (disk / "filler").unlink(missing_ok=True)
        resumed = facekd(site, place, "distill", "recipe.toml", "--run", disk / "run", "--workers", 0,
                         "--resume", after=stop_soon(place, step + 60))  # fmt: skip
        on = checkpoint_step(place)
    return together(
        ran.check(5, "disk is full"), fact(step > 0, "the last checkpoint stays"),
        resumed.check(143), fact(on > step, "it goes on"),
    )  # fmt: skip


@drill("C9", "learning rates at which the loss is no number, and at which the student tells nobody apart",
       "exit 2 that says what to change, never 'internal error'")  # fmt: skip
def divergence(site: Site) -> Outcome:
    lost = made_place(site, ("[schedule]", '[schedule]\nrate = 1e30\noptimizer = "sgd"\nclip = 0.0'))
    chance = made_place(site, ("[schedule]", "[schedule]\nrate = 1e-9"), ("images = 96", "images = 16"))
    return together(
        facekd(site, lost, "distill", "recipe.toml", "--run", "run").check(
            2, "learning rate", never=("internal",)
        ),
        facekd(site, chance, "distill", "recipe.toml", "--run", "run").check(2, "lower", never=("internal",)),
    )


# C10 and C11 ---------------------------------------------------------------------------------------


@drill("C10", "a recipe with text for numbers, true for a seed, a path for a list, a bad loss, a stray key",
       "exit 2; one line each, in words that say what to write")  # fmt: skip
def recipes_are_typed_strictly(site: Site) -> Outcome:
    place = made_place(
        site, ("shift = 2.0", 'shift = "2"'), ("images = 96", 'images = "1280"'), ("seed = 3", "seed = true"),
        ('labelled = ["crops"]', 'labelled = "crops"'), ('name = "cosine"', 'name = "cosin"'),
        ('name = "plainres"', 'name = "plainres"\ndim = 16'),
    )  # fmt: skip
    ran = facekd(site, place, "recipe", "check", "recipe.toml")
    return ran.check(
        2, "6 fault(s)", "a list of paths, for example", 'shift: should be a number, not "2"',
        'images: should be a whole number, not "1280"', "seed: should be a whole number, not true",
        "belongs in student.settings.dim", "cosin", never=("valid tuple",),
    )  # fmt: skip


@drill(
    "C10", "a student of 16 dimensions from a teacher of 512", "a note says that a projector compares them"
)
def another_embedding_size(site: Site) -> Outcome:
    log = (finished_run(site) / "run" / "train.log").read_text()
    told = next((line for line in log.splitlines() if "projector" in line), "")
    return fact("16 dimensions" in told and "512" in told, told[26:160] or "nothing said")


@drill(
    "C11",
    "what a finished run leaves",
    "a learning curve (PNG, and in its page) beside the teacher's own TAR",
)
def learning_curve(site: Site) -> Outcome:
    run = finished_run(site) / "run"
    curve = run / "learning_curve.png"
    pages = sorted(run.glob("*.html"))
    page = pages[0].read_text(encoding="utf-8") if pages else ""
    return together(
        fact(curve.is_file() and curve.read_bytes()[:4] == b"\x89PNG", "learning_curve.png"),
        fact(
            "data:image/svg+xml" in page,
            f"in {pages[0].name}" if pages else "no page of the run",
        ),
        fact("teacher" in page, "the page names the teacher"),
    )


@drill("C11", "evaluate on a list with three times as many non-mated pairs",
       "called a list that is not balanced, with balanced accuracy")  # fmt: skip
def unbalanced_lists(site: Site) -> Outcome:
    place = made_place(site)
    people = sorted((place / "crops").iterdir())
    rows = ["path1,path2,label"]
    for number, person in enumerate(people):
        mine = [f"{person.name}/{one.name}" for one in sorted(person.iterdir())]
        rows += [f"{mine[0]},{mine[1]},1"]
        for step in (1, 2, 3):
            other = people[(number + step) % len(people)]
            rows.append(f"{mine[0]},{other.name}/{sorted(other.iterdir())[0].name},0")
    (place / "pairs.csv").write_text("\n".join(rows) + "\n")
    ran = site.facekd(*EVALUATE, site.model, "--protocol", "pairs", "--data", place / "crops", "--pairs",
                      place / "pairs.csv", "--aligned")  # fmt: skip
    return ran.check(0, "balanced")


# helpers -------------------------------------------------------------------------------------------


def made_place(site: Site, *changes: tuple[str, str], heldout_line: tuple[str, str] | None = None) -> Path:
    """A folder with crops of synthetic people, a list of held-out ones, the shipped student as the teacher,
    and a recipe with ``changes``."""
    place = site.new("place")
    shutil.copytree(site.crops, place / "crops")
    people = sorted(one.name for one in (place / "crops").iterdir())
    (place / "heldout.txt").write_text("\n".join(people[:HELD_OUT]) + "\n")
    shutil.copy(site.model, place / "teacher.onnx")
    (place / "recipe.toml").write_text(RECIPE)
    change(place, *changes, *([heldout_line] if heldout_line else []))
    return place


def change(place: Path, *changes: tuple[str, str]) -> None:
    file = place / "recipe.toml"
    text = file.read_text()
    for old, new in changes:
        if old not in text:
            raise ValueError(f"the recipe has no {old!r}")
        text = text.replace(old, new)
    file.write_text(text)


_FINISHED: dict[Path, Path] = {}


def finished_run(site: Site) -> Path:
    """A place with a finished ``run``; must not be changed."""
    if site.folder not in _FINISHED:
        place = made_place(site)
        ran = facekd(site, place, "distill", "recipe.toml", "--run", "run")
        if ran.code:
            raise RuntimeError(f"no run: {ran.err[-500:]}")
        _FINISHED[site.folder] = place
    return _FINISHED[site.folder]


def cut_run(site: Site) -> Path:
    """A place with a ``run`` that was stopped before its end."""
    place = made_place(site, *LONG)
    ran = facekd(
        site, place, "distill", "recipe.toml", "--run", "run", "--workers", 0, after=stop_soon(place, 35)
    )
    if ran.code != 143:
        raise RuntimeError(f"no run: {ran.err[-500:]}")
    return place


def facekd(site: Site, place: Path, *arguments: object, **settings: Any) -> Ran:
    return site.facekd(*arguments, cwd=place, space=TRAININGS_SPACE, seconds=400, **settings)


def begin(site: Site, place: Path, *options: str) -> subprocess.Popen[bytes]:
    """A run in ``place`` that continues beside the drill; its output comes through one pipe."""
    command = [sys.executable, "-m", "facekd", "distill", "recipe.toml", "--run", "run", *options]
    return site.start(
        command, cwd=place, space=TRAININGS_SPACE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def metrics_of(place: Path) -> list[dict[str, Any]]:
    file = place / "run" / "metrics.jsonl"
    found = []
    for line in file.read_text().splitlines() if file.is_file() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def last_step(place: Path) -> int:
    return max((line.get("step", 0) for line in metrics_of(place)), default=0)


def checkpoint_step(place: Path) -> int:
    """The step of the last checkpoint, 0 without one."""
    file = place / "run" / "checkpoints" / "last" / "state.json"
    return int(json.loads(file.read_text())["step"]) if file.is_file() else 0


def wait_for_step(process: subprocess.Popen[bytes], place: Path, step: int) -> None:
    """Wait until the run has logged ``step``, or ends. Raises `TimeoutError`."""
    patience = time.monotonic() + 240
    while last_step(place) < step and process.poll() is None:
        if time.monotonic() > patience:
            raise TimeoutError(f"the run does not reach step {step}")
        time.sleep(0.02)


def stop_soon(place: Path, step: int) -> Callable[[subprocess.Popen[bytes]], None]:
    """SIGTERM at ``step``."""

    def stop(process: subprocess.Popen[bytes]) -> None:
        wait_for_step(process, place, step)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)

    return stop


def session_of(leader: int) -> list[int]:
    """The running processes of the session that ``leader`` started, without zombies."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            state, _, _, session = file.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(file.parent.name))
    return found
