"""Cut the faces of a photo collection that states ages, sexes and races, for 'facekd calibrate --groups'.

    python tools/cut_group_faces.py PHOTOS crops.zip groups.csv --detector scrfd:scrfd_500m.onnx \\
        --teacher edgeface_xs.onnx --seen train-1.zip --seen train-2.zip --apart lfw-crops.zip \\
        --people heldout_identities.txt

PHOTOS is a folder, or a git directory with --under FOLDER, whose files are named as those of UTKFace (Zhang,
Song and Qi, "Age progression/regression by conditional adversarial autoencoder", CVPR 2017):
AGE_SEX_RACE_DATE.*, with sex 0 for men and 1 for women, and race 0 to 4 for White, Black, Asian, Indian and
others. A group is a race and a sex, for example "Asian women"; --age 30 divides each at that age. Photos of
people under 18 are not read.

Photos of each group are tried in random order until --most are kept. A border of a quarter of its size is
put around each, since detectors miss faces that fill a photo. A photo is left out

- without a face at least 60 pixels high (detector's score 0.5 or more);
- with a cosine of 0.75 or more to a crop in a pack of --seen, which the student was trained on: it is the
  same photo, or certainly the same person;
- with a cosine of 0.5 or more to a crop in a pack of --apart, or to one of the people in --people;
- with a cosine of 0.5 or more to a photo that is already kept: it is taken for another photo of the same
  person.

All cosines are the teacher's. --seen and --apart also take a NumPy file of its unit embeddings [N, D], as
training keeps of augmented crops, since embedding large packs takes long. The last rule errs in both
directions: different people who are very similar to the teacher are taken for one, and two photos of one
person which it scores lower than 0.5 are kept as two people. The first lowers the false match rate that is
measured on the crops, the second raises it.

In the pack each photo is a person: NAME/1.jpg. The CSV lists photo and group.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP
from facekd.cli import run
from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE
from facekd.errors import CannotSay, InputOutput, Unreadable
from facekd.files import write_atomically
from facekd.geometry import Pixels
from facekd.preprocess import Detector, Photo, choose, cut, decode, encode, open_source, open_target
from facekd.preprocess.detectors import make_detector
from facekd.runtime import Embedder, load_embedder
from facekd.workflows import all_crops, embedded_packs

Floats = NDArray[np.float32]

SEXES = ("men", "women")
RACES = ("White", "Black", "Asian", "Indian", "Other")
#: the teacher's cosines from which a crop counts as seen in training, and from which two show one person
SEEN, SAME_PERSON = 0.75, 0.5
_ADULT, _LEAST_HEIGHT, _LEAST_SCORE = 18, 60, 0.5
_BORDER = 0.25
#: photos that are embedded and compared at once
_BATCH = 64
_NAME = re.compile(r"(?P<age>\d+)_(?P<sex>[01])_(?P<race>[0-4])_\w+")


@dataclass
class Tally:
    """How many photos were kept, and left out for which reason."""

    kept: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def group_of(name: str, ages: Sequence[int] = ()) -> str | None:
    """The group that the name of a photo states, divided at ``ages``; `None` for somebody under 18, and for
    other names."""
    stated = _NAME.match(name.rpartition("/")[2])
    if stated is None or int(stated["age"]) < _ADULT:
        return None
    group = f"{RACES[int(stated['race'])]} {SEXES[int(stated['sex'])]}"
    if not ages:
        return group
    starts = [start for start in sorted({_ADULT, *ages}) if start <= int(stated["age"])]
    return f"{group} from {starts[-1]}"


class GitFolder:
    """The files below ``folder`` at the newest commit of a git directory, which may be bare."""

    def __init__(self, git_dir: Path, folder: str) -> None:
        self._git = ["git", f"--git-dir={git_dir}"]
        self._folder = folder.rstrip("/")
        self._reader = subprocess.Popen(
            [*self._git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def names(self) -> list[str]:
        listed = subprocess.run(
            [*self._git, "ls-tree", "-rz", "--name-only", "HEAD", f"{self._folder}/"],
            stdout=subprocess.PIPE,
            check=True,
        )
        return [name for name in listed.stdout.decode("utf-8", "surrogateescape").split("\0") if name]

    def read(self, name: str) -> bytes:
        """Raises `InputOutput` for a file that the copy does not hold."""
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        self._reader.stdin.write(f"HEAD:{name}\n".encode("utf-8", "surrogateescape"))
        self._reader.stdin.flush()
        head = self._reader.stdout.readline().split()
        if len(head) != 3:
            raise InputOutput(f"{name}: not in this copy of the repository")
        content = self._reader.stdout.read(int(head[2]))
        self._reader.stdout.read(1)  # the newline after it
        return content


def bordered(pixels: Pixels) -> Pixels:
    """``pixels`` with black around them, a quarter of each side wide."""
    high, wide = (round(_BORDER * side) for side in pixels.shape[:2])
    return np.pad(pixels, ((high, high), (wide, wide), (0, 0)))


def crop_of(content: bytes, name: str, detector: Detector) -> Pixels | None:
    """The aligned crop [112, 112, 3] of the face in a photo; `None` without one that is large and clear."""
    try:
        photo = decode(content, name)
        pixels = bordered(photo.pixels)
        face = choose(detector.detect(pixels), pixels.shape[:2])[0]
    except (CannotSay, Unreadable):
        return None
    if face.box[3] - face.box[1] < _LEAST_HEIGHT or face.score < _LEAST_SCORE:
        return None
    return cut(Photo(name, pixels, photo.sha256).pixels, face, ARCFACE_CROP)


class Sifted:
    """Keeps photos of different people who are neither among the ``seen`` crops [S, D] nor among the people
    kept ``apart`` [A, D]."""

    def __init__(self, seen: Floats, apart: Floats) -> None:
        self._seen, self._apart = seen, apart
        self._kept = np.zeros((0, apart.shape[1]), np.float32)

    def take(self, rows: Floats) -> list[str | None]:
        """Why each of the photos ``rows`` [N, D] is left out; `None` for those that are kept."""
        seen = _highest(rows, self._seen) >= SEEN
        apart = _highest(rows, self._apart) >= SAME_PERSON
        again = _highest(rows, self._kept) >= SAME_PERSON
        whys: list[str | None] = []
        for place, row in enumerate(rows):
            new = rows[:place][[why is None for why in whys]]
            same = again[place] or _highest(row[None], new)[0] >= SAME_PERSON
            reasons = {
                "like a crop of the training packs": seen[place],
                "like somebody who is kept apart": apart[place],
                "same person as in a photo that is kept": same,
            }
            whys.append(next((why for why, holds in reasons.items() if holds), None))
        self._kept = np.concatenate([self._kept, rows[[why is None for why in whys]]])
        return whys


def _highest(rows: Floats, others: Floats) -> Floats:
    return (rows @ others.T).max(axis=1, initial=-1.0)


def tried(names: Sequence[str], seed: int, ages: Sequence[int] = ()) -> Iterator[tuple[str, list[str]]]:
    """Batches of photos with their group, the groups in turn, each in random order."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        group = group_of(name, ages)
        if group is not None:
            groups.setdefault(group, []).append(name)
    rng = np.random.default_rng(seed)
    orders = {group: rng.permutation(groups[group]).tolist() for group in sorted(groups)}
    for start in range(0, max(map(len, orders.values()), default=0), _BATCH):
        for group, order in orders.items():
            if order[start : start + _BATCH]:
                yield group, order[start : start + _BATCH]


def kept_crops(
    names: Sequence[str], read: Callable[[str], bytes], detector: Detector, teacher: Embedder,
    sifted: Sifted, most: int, tally: Tally, seed: int = 0, ages: Sequence[int] = (),
) -> Iterator[tuple[str, str, Pixels]]:  # fmt: skip
    """The name, the group and the crop of each photo that is kept."""
    for group, batch in tried(names, seed, ages):
        batch = batch[: 2 * (most - tally.kept[group])]
        crops = {name: crop for name in batch if (crop := crop_of(read(name), name, detector)) is not None}
        tally.left_out["no face, or a small or doubtful one"] += len(batch) - len(crops)
        if not crops:
            continue
        whys = sifted.take(teacher.embed(np.stack(list(crops.values()))))
        for (name, crop), why in zip(crops.items(), whys, strict=True):
            if why:
                tally.left_out[why] += 1
            elif tally.kept[group] < most:
                tally.kept[group] += 1
                yield name, group, crop


def known_rows(given: Sequence[Path], teacher: Path, dim: int, people: Path | None = None) -> Floats:
    """The teacher's embeddings of the crops in the packs ``given``, and those in NumPy files; with
    ``people``, a list of folders, only of these folders of the packs."""
    files = [file for file in given if file.suffix == ".npy" and people is None]
    packs = all_crops([file for file in given if file.suffix != ".npy"])
    if people is not None:
        named = set(people.read_text().split())
        packs = tuple(
            replace(own, names=tuple(name for name in own.names if name.partition("/")[0] in named))
            for own in packs
        )
    packs = tuple(own for own in packs if own.names)
    rows = [np.zeros((0, dim), np.float32), *(np.load(file).astype(np.float32) for file in files)]
    with click.progressbar(length=sum(len(own.names) for own in packs), label="known crops") as bar:
        rows += [part.rows for part in embedded_packs(packs, teacher, advance=bar.update)]
    found = np.concatenate(rows)
    return found[np.isfinite(found).all(axis=1)]


@click.command()
@click.argument("photos", type=EXISTING)
@click.argument("out", type=ANY_PATH)
@click.argument("groups", type=ANY_PATH)
@click.option("--under", help="The folder of the photos in the git directory PHOTOS.")
@click.option("--detector", required=True, help="scrfd:FILE, as the packs were cut.")
@click.option("--teacher", type=EXISTING_FILE, required=True, help="The model that tells people apart.")
@click.option("--seen", type=EXISTING, multiple=True, help="Pack that the model was trained on, or rows.")
@click.option("--apart", type=EXISTING, multiple=True, help="Pack of people to keep apart, or rows.")
@click.option("--people", type=EXISTING_FILE, help="List of people in the packs of --seen to keep apart.")
@click.option("--most", type=click.IntRange(1), default=1000, show_default=True, help="Photos of a group.")
@click.option("--age", "ages", type=click.IntRange(_ADULT), multiple=True, help="Age to divide groups at.")
@click.option("--seed", default=0, show_default=True)
def main(
    photos: Path, out: Path, groups: Path, under: str | None, detector: str, teacher: Path,
    seen: tuple[Path, ...], apart: tuple[Path, ...], people: Path | None, most: int, ages: tuple[int, ...],
    seed: int,
) -> None:  # fmt: skip
    """Cut crops from PHOTOS into the pack OUT, with their groups in the CSV file GROUPS."""
    source = open_source(photos) if under is None else GitFolder(photos, under)
    embedder = load_embedder(teacher, threads=1)
    dim = embedder.card.embedding.dim
    held = known_rows(seen, teacher, dim, people) if people else np.zeros((0, dim), np.float32)
    apart_rows = np.concatenate([known_rows(apart, teacher, dim), held])
    sifted = Sifted(known_rows(seen, teacher, dim), apart_rows)
    tally, target, listed = Tally(), open_target(out, fresh=True), io.StringIO()
    rows = csv.writer(listed, lineterminator="\n")
    rows.writerow(["photo", "group"])
    made = make_detector(detector, "cpu", 1)
    for name, group, crop in kept_crops(
        source.names(), source.read, made, embedder, sifted, most, tally, seed, ages
    ):
        person = name.rpartition("/")[2].partition(".")[0]
        target.write(f"{person}/1.jpg", encode(crop, "jpg"))
        rows.writerow([f"{person}/1.jpg", group])
    target.finish()
    write_atomically(groups, listed.getvalue().encode())
    for counts in (tally.kept, tally.left_out):
        click.echo("\n".join(f"{count:6,} {what}" for what, count in sorted(counts.items())))


if __name__ == "__main__":
    raise SystemExit(run(main))
