"""The end of a demonstration: enroll people and verify claims with a model, as an operator does."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facekd.card import read_card
from facekd.errors import CannotSay
from facekd.gallery import GalleryRecords
from facekd.reporting import Call, Cell, Section, Table
from facekd.verification import wilson
from facekd.workflows.enroll import enroll_people
from facekd.workflows.photos_given import PhotoFile, people_in
from facekd.workflows.recognizer import Recognizer
from facekd.workflows.thresholds import Threshold
from facekd.workflows.verify import verify_claim

#: people who are enrolled from two photos each; a third photo is used for the claims
MOST_PEOPLE, ENROLLED_FROM = 20, 2
#: people whom the shown commands try to enroll, until two are
_TRIED = 8
#: the user's settings must not choose another model or gallery for the commands that the page shows
_SETTINGS = ("FACEKD_MODEL", "FACEKD_GALLERY", "FACEKD_DETECTOR", "FACEKD_CONFIG")


@dataclass(frozen=True)
class Claims:
    """How many of ``total`` decided claims were ``accepted``."""

    accepted: int
    total: int

    def __str__(self) -> str:
        return f"{self.accepted} of {self.total}"

    def cell(self) -> Cell:
        """The count, above its interval."""
        if not self.total:
            return Cell("none decided")
        bounds = wilson(self.accepted, self.total)
        return Cell(str(self), f"95 %: {100 * bounds.low:.0f} to {100 * bounds.high:.0f} %")


@dataclass(frozen=True)
class Counted:
    """Decisions of a model at its own ``threshold``: ``true`` claims, by the person in the photo, and
    ``false`` ones, by somebody else; ``undecided`` counts claims whose photo could not be used."""

    threshold: Threshold
    enrolled: int
    true: Claims
    false: Claims
    undecided: int


@dataclass(frozen=True)
class Used:
    """A model in use: ``calls`` are commands with their answers; ``counted`` is `None` if the model has no
    threshold."""

    title: str
    model: str
    counted: Counted | None
    calls: tuple[Call, ...]

    def told(self) -> str:
        """The result in a sentence or two."""
        if self.counted is None:
            return f"The {self.title} ({self.model}) has no measured threshold: nothing is verified."
        counted = self.counted
        return (
            f"The {self.title} ({self.model}) enrolled {counted.enrolled} people from two photos each. At "
            f"its own threshold {counted.threshold.value:.3f} (FMR {counted.threshold.fmr:g} on "
            f"{counted.threshold.data}) it accepted {counted.true} true claims and {counted.false} false "
            "ones."
        )


def use_model(
    title: str, model: Path, photos: Path, out: Path, name: str, detector: str, named: bool
) -> Used:
    """Enroll and verify people in ``photos`` with ``model``, from Python and by the commands; the galleries
    are kept in ``out`` under ``name``. If ``named``, the commands get a ``--model``."""
    people = dict(
        itertools.islice(
            ((person, files) for person, files in people_in(photos).items() if len(files) > ENROLLED_FROM),
            MOST_PEOPLE,
        )
    )
    card, _ = read_card(model)
    counted = None
    if card.calibration:
        recognizer = Recognizer(model, detector=detector)
        counted = _count(recognizer, people, photos, out / f"gallery{name}.db")
    options = ["--gallery", str(out / f"operator{name}.db")]
    options += ["--model", str(model)] if named else []
    options += ["--detector", detector] if detector != "mtcnn" else []
    return Used(title, card.name, counted, tuple(_calls(people, photos, options)))


def _count(
    recognizer: Recognizer, people: dict[str, list[PhotoFile]], photos: Path, gallery: Path
) -> Counted:
    threshold = recognizer.threshold
    first = {name: files[:ENROLLED_FROM] for name, files in people.items()}
    answers: dict[bool, list[bool]] = {True: [], False: []}
    undecided = 0
    with GalleryRecords(gallery, recognizer.contract, create=True) as records:
        # the identities are known; the guard would refuse photos that the model confuses
        done = enroll_people(records, recognizer, first, "best", force=True)
        enrolled = [entry.name for entry in done if entry.templates]
        for place, name in enumerate(enrolled):
            photo = photos / people[name][ENROLLED_FROM].name
            other = enrolled[(place + 1) % len(enrolled)]
            for claim in dict.fromkeys((name, other)):
                try:
                    found = verify_claim(recognizer, records, claim, photo, threshold)
                except CannotSay:
                    undecided += 1
                else:
                    answers[claim == name].append(found.same)
    true, false = (Claims(sum(answers[kind]), len(answers[kind])) for kind in (True, False))
    return Counted(threshold, len(enrolled), true, false, undecided)


def _calls(people: dict[str, list[PhotoFile]], photos: Path, options: Sequence[str]) -> list[Call]:
    """The commands that enroll two people, and verify a true and a false claim by the first: the first two
    whom the model enrolls of `_TRIED`. If it enrolls one of them only, the false claim is to be that one."""
    if len(people) < 2:
        return []
    tried: list[tuple[str, list[PhotoFile], Call]] = []
    for name, files in itertools.islice(people.items(), _TRIED):
        if sum(call.exit_code == 0 for *_, call in tried) == 2:
            break
        tried.append((name, files, _run(["enroll", name, *_paths(photos, files[:ENROLLED_FROM]), *options])))
    enrolled = [one for one in tried if one[2].exit_code == 0]
    two = [*enrolled, *(one for one in tried if one not in enrolled)][:2]
    (first, files, _), (second, others, _) = two
    own, other = _paths(photos, [files[ENROLLED_FROM], others[ENROLLED_FROM]])
    false = (second, own) if len(enrolled) > 1 else (first, other)
    claims = [_run(["verify", "--claim", *claim, *options]) for claim in ((first, own), false)]
    return [*(call for *_, call in two), *claims]


def _paths(photos: Path, files: Sequence[PhotoFile]) -> list[str]:
    return [str(photos / file.name) for file in files]


def _run(words: Sequence[str]) -> Call:
    """Run the command in a new process and return everything that it prints on a terminal."""
    environment = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    with tempfile.TemporaryDirectory() as folder:
        nothing_set = Path(folder) / "facekd.toml"
        nothing_set.touch()
        environment |= {"FACEKD_CONFIG": str(nothing_set), "PYTHONUTF8": "1"}
        # -P: a folder named numpy in the current folder must not be imported
        done = subprocess.run(
            [sys.executable, "-P", "-m", "facekd", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace", env=environment, check=False,
        )  # fmt: skip
    return Call(shlex.join(["facekd", *words]), done.stdout.rstrip(), done.returncode)


def used_sections(used: Sequence[Used], notes: Sequence[str]) -> list[Section]:
    """The sections of the page about models in use: their counts side by side, then the commands of each."""
    counted = [(one, one.counted) for one in used if one.counted is not None]
    columns = (
        "model", "people enrolled", "true claims accepted", "false claims accepted", "undecided", "threshold",
    )  # fmt: skip
    rows = tuple(
        (
            Cell(one.title, one.model),
            str(found.enrolled),
            found.true.cell(),
            found.false.cell(),
            str(found.undecided),
            Cell(f"{found.threshold.value:.3f}", f"FMR {found.threshold.fmr:g} on {found.threshold.data}"),
        )
        for one, found in counted
    )
    caption = (
        "Claims with a third photo of each person: once as that person, once as the next. Enrolled with "
        "--force, because the identities are known. Each model decides at its own threshold"
    )
    without = tuple(one.told() for one in used if one.counted is None)
    tables = (Table(columns, rows, caption),) if rows else ()
    together = Section("Enrolling and verifying", (*notes, *without), tables)
    return [
        together,
        *(Section(f"Commands with the {one.title}", calls=one.calls) for one in used if one.calls),
    ]


def shipped_note(used: Used, drawn: bool) -> str:
    """What the shipped student's answers mean, for ``drawn`` people or those in a folder."""
    if not drawn:
        return "It has not been checked whether the shipped student was trained on any of these people."
    told = (
        "The shipped student was trained on real faces, and its threshold was measured on them: its "
        "answers about synthetic people do not show how well it recognises real ones."
    )
    if used.counted is None or not used.counted.false.accepted:
        return told
    return (
        f"{told} It confuses these synthetic people: it accepted {used.counted.false} false claims. "
        "Run the demonstration with --data and a folder of photos for each person to see it on real faces."
    )
