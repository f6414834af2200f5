"""Drills of section C: crops, recipes and disks with which a run cannot train."""

from __future__ import annotations

import shutil
import subprocess
import zipfile

import cv2
import numpy as np
from drill_list import Outcome, drill, fact, together
from drill_runs import (
    LONG,
    change,
    checkpoint_step,
    facekd,
    finished_run,
    made_place,
    stop_soon,
    wait_for_step,
)
from drill_site import Site, fill

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


# C10 -----------------------------------------------------------------------------------------------


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
    "C10", "a student of 16 dimensions from a larger teacher", "a note says that a projector compares them"
)
def another_embedding_size(site: Site) -> Outcome:
    log = (finished_run(site) / "run" / "train.log").read_text()
    told = next((line for line in log.splitlines() if "projector" in line), "")
    return fact("16 dimensions and the teacher's" in told, told[26:160] or "nothing said")
