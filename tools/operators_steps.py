"""An operator's first commands with a new installation, with a check of each answer.

`check_install.py` runs these steps in an environment made by pip, a test in one that it assembles.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox import Sandbox

#: people with photos each for the calibration: enough comparisons for a threshold at FMR 0.01
PEOPLE, PHOTOS = 24, 4
NAME = "Ann Lee"


@dataclass(frozen=True)
class Photos:
    """``own``: three photos of one person; ``other``: one of another person; ``blank``: of nobody;
    ``people``: a folder with `PEOPLE` folders of `PHOTOS` photos."""

    own: tuple[Path, Path, Path]
    other: Path
    blank: Path
    people: Path


def drawn_photos(folder: Path) -> Photos:
    """A public-domain portrait from scikit-image (Eileen Collins, NASA), modified twice, and synthetic
    people."""
    import numpy as np
    from PIL import Image
    from skimage.data import astronaut

    from facekd.samples import draw_people

    draw_people(folder / "people", PEOPLE, PHOTOS, workers=1)
    face = np.ascontiguousarray(astronaut()[20:220, 120:320])
    darker = (face * 0.8).astype(np.uint8)
    files = []
    for name, pixels in (
        ("1", face),
        ("2", face[:, ::-1]),
        ("3", darker),
        ("blank", np.full_like(face, 120)),
    ):
        files.append(folder / f"{name}.jpg")
        Image.fromarray(pixels).save(files[-1], quality=92)
    one, two, three, blank = files
    return Photos((one, two, three), folder / "people" / "person-0001" / "0001.jpg", blank, folder / "people")


def real_photos(folder: Path, pack: Path) -> Photos:
    """People of ``pack``, a zip with a folder per person: the one with the most photos, and the first others
    with enough photos."""
    drawn = drawn_photos(folder / "drawn")
    with zipfile.ZipFile(pack) as faces:
        of: dict[str, list[str]] = defaultdict(list)
        for name in sorted(faces.namelist()):
            if name.lower().endswith(".jpg"):
                of[name.split("/")[-2]].append(name)
        person = max(of, key=lambda who: len(of[who]))
        several = [who for who, names in of.items() if len(names) >= PHOTOS and who != person][:PEOPLE]
        for who in (person, *several):
            place = folder / ("people" if who != person else "own") / who
            place.mkdir(parents=True)
            for name in of[who][:PHOTOS]:
                (place / name.split("/")[-1]).write_bytes(faces.read(name))
    one, two, three, _ = sorted((folder / "own" / person).iterdir())
    other = min((folder / "people").rglob("*.jpg"))
    return Photos((one, two, three), other, drawn.blank, folder / "people")


@dataclass(frozen=True)
class Step:
    """A command with the expected exit ``code`` and the expected content of its JSON document; ``makes`` are
    files that it writes, with their first bytes."""

    title: str
    arguments: Sequence[object]
    code: int
    is_right: Callable[[dict[str, Any]], bool]
    makes: dict[str, bytes] = field(default_factory=dict)


def steps(photos: Photos, model: Path) -> list[Step]:
    """The steps in their order; ``model`` is a file with a card, which is calibrated."""
    one, two, three = photos.own
    all_photos = PEOPLE * PHOTOS
    # anything left in the home folder is a fault
    gallery = ("--gallery", "gallery.db")

    def decides(same: bool) -> Callable[[dict[str, Any]], bool]:
        def is_right(told: dict[str, Any]) -> bool:
            reached = told["score"] >= told["threshold"]["value"]
            shipped = told["model"]["name"].startswith("facekd-student")
            return told["same"] is same is reached and shipped and told["detector"] == "mtcnn"

        return is_right

    return [
        Step(
            "align", ["align", photos.people, "crops"], 0,
            lambda told: told["crops"] == told["photos"] == all_photos,
            {"crops.report.jsonl": b"{"},
        ),
        Step("verify, one person", ["verify", one, two], 0, decides(True)),
        Step("verify, two people", ["verify", one, photos.other], 1, decides(False)),
        Step(
            "verify, no face", ["verify", one, photos.blank], 3,
            lambda told: told["same"] is None and told["failure"]["reason"] == "no_face",
        ),
        Step(
            "enroll", ["enroll", NAME, one, two, *gallery], 0,
            lambda told: told["added"] == told["templates"] == 2,
            {"gallery.db": b"SQLite format 3"},
        ),
        Step(
            "gallery list", ["gallery", "list", *gallery], 0,
            lambda told: [(who["name"], who["templates"]) for who in told["people"]] == [(NAME, 2)],
        ),
        Step("verify a claim", ["verify", "--claim", NAME, three, *gallery], 0, decides(True)),
        Step("verify a false claim", ["verify", "--claim", NAME, photos.other, *gallery], 1, decides(False)),
        Step(
            "calibrate", ["calibrate", model, "--data", photos.people], 0,
            lambda told: (
                [entry["fmr"] for entry in told["calibration"]] == [0.01]
                and told["score_map"]["sample"]["people"] == PEOPLE
                and told["failures_to_acquire"] == []
            ),
        ),
        Step(
            "verify by the new threshold", ["verify", one, two, "--model", model], 0,
            lambda told: told["threshold"]["data"] == photos.people.name and told["probability"] > 0.5,
        ),
        Step(
            "evaluate",
            ["evaluate", model, "--data", photos.people, "--pairs", "pairs.csv", "--report", "page.html",
             "--plot", "roc.png", "--csv", "numbers.csv"],
            0, lambda told: _is_judged(told["models"][0]),
            {"page.html": b"<!doctype html>", "roc.png": b"\x89PNG", "numbers.csv": b"model,measure,value"},
        ),
        Step(
            "gallery remove", ["gallery", "remove", NAME, "--yes", *gallery], 0,
            lambda told: (told["templates"], told["erasure"]) == (2, "done"),
        ),
    ]  # fmt: skip


def _is_judged(told: dict[str, Any]) -> bool:
    """Every pair was compared, and people were told apart better than by chance."""
    count = told["comparisons"]
    pairs = (count["mated"], count["non_mated"], count["failed_mated"], count["failed_non_mated"])
    return pairs == (PEOPLE, PEOPLE, 0, 0) and told["auc"]["interval"]["low"] > 0.5


def write_pairs(people: Path, file: Path) -> None:
    """The first two photos of each person, and the first of each with the second of the next."""
    folders = sorted(people.iterdir())
    first = [sorted(folder.iterdir())[0].relative_to(people) for folder in folders]
    second = [sorted(folder.iterdir())[1].relative_to(people) for folder in folders]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["path1", "path2", "label"])
        writer.writerows((a.as_posix(), b.as_posix(), 1) for a, b in zip(first, second, strict=True))
        others = second[1:] + second[:1]
        writer.writerows((a.as_posix(), b.as_posix(), 0) for a, b in zip(first, others, strict=True))


def take(step: Step, sandbox: Sandbox) -> str | None:
    """Run ``step``; what is wrong with it, or `None`."""
    ran = sandbox.facekd(*step.arguments, "--json")
    if ran.returncode != step.code:
        return f"exit code {ran.returncode} and not {step.code}: {ran.stderr.strip()}"
    try:
        right = step.is_right(json.loads(ran.stdout))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return f"not the document that was awaited ({error!r}): {ran.stdout}"
    if not right:
        return f"another answer than was awaited: {ran.stdout}"
    for name, begun in step.makes.items():
        file = sandbox.work / name
        if not file.is_file() or not file.read_bytes().lower().startswith(begun.lower()):
            return f"{name} was not written, or is something else"
    return None


def copy_shipped(sandbox: Sandbox) -> Path:
    """A copy of the shipped student of the installation, to be calibrated."""
    program = (
        "import shutil; from facekd.weights import shipped_model; shutil.copy(shipped_model(), 'own.onnx')"
    )
    ran = sandbox.run("-c", program)
    if ran.returncode:
        raise RuntimeError(f"the installation carries no student: {ran.stderr}")
    return Path("own.onnx")
