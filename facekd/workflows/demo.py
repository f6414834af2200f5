"""Run the whole chain on one folder of faces: align, train, distil, compare, enroll, verify, report.

Without a folder, the people are synthetic. All results are written into one new folder. At the end, people
are enrolled and verified with the distilled student, and with the shipped one.
"""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facekd.csv_rows import harmless_cell
from facekd.errors import InputOutput, UsageError
from facekd.preprocess import ALIGNER, Identities, identities_in, identity_of, open_source
from facekd.preprocess.detectors import make_detector

if TYPE_CHECKING:
    from facekd.benchmark import Benchmark
    from facekd.distillation import Outcome
    from facekd.workflows.benchmark import OpenBar
    from facekd.workflows.demo_use import Used

#: most photos that a demonstration aligns; detection takes most of its time
MOST_PHOTOS = 4000
_DRAWN = "drawn faces"
#: milder than the published setting, for a few hundred people and a few hundred steps
_FROM_LABELS = {"name": "arcface", "settings": {"margin": 0.3, "scale": 32.0}}


@dataclass(frozen=True)
class DemoSettings:
    """How much a demonstration does. ``data`` is a folder or pack with a folder per person, ``"lfw"``, or
    `None` for synthetic people; ``root`` its subfolder that holds the people's folders (`identities_in`);
    ``teacher`` an ONNX file, or `None` to train one."""

    out: Path
    data: str | None = None
    root: str | None = None
    teacher: Path | None = None
    detector: str = "mtcnn"
    seed: int = 0
    train_people: int = 300
    test_people: int = 100
    photos: int = 10
    teacher_images: int = 10240
    student_images: int = 9600
    batch: int = 64


@dataclass
class Demo:
    """A demonstration in progress; ``rows`` become the report's table of training runs."""

    settings: DemoSettings
    say: Callable[[str], None]
    progress: OpenBar
    rows: list[tuple[str, ...]] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    step: int = 0

    @property
    def steps(self) -> int:
        """Their number, which depends on whether a teacher is given and a student is shipped."""
        from facekd.weights import shipped_model

        return 8 - (self.settings.teacher is not None) - (shipped_model() is None)

    def begin(self, title: str) -> None:
        """Announce the next step."""
        self.step += 1
        self.say(f"\n[{self.step}/{self.steps}] {title}")


def run_demo(settings: DemoSettings, say: Callable[[str], None], progress: OpenBar) -> Path:
    """Run the chain into ``settings.out``; return the report's path.

    Raises `UsageError` if the folder exists already or the data has too few people, and what the steps
    raise.
    """
    out = settings.out
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise UsageError(f"{out} exists already", "Give a new folder with --out, or remove it.")
    # a library that is missing is known before the minutes of drawing and aligning
    from facekd.workflows.train import train_recipe  # noqa: F401

    out.mkdir(parents=True, exist_ok=True)
    demo = Demo(settings, say, progress)
    started = time.perf_counter()
    train, test = _faces(demo)
    train_crops, test_crops = _align(demo, train, "train"), _align(demo, test, "test")
    heldout = _hold_out(train_crops, out / "heldout.txt")
    teacher = settings.teacher or _train_teacher(demo, train_crops, heldout)
    student, baseline = _distil(demo, train_crops, heldout, teacher)
    pairs = _pairs(demo, test_crops, out / "pairs.csv")
    found = _benchmark(demo, teacher, [student, baseline], test_crops, pairs)
    report = _write(demo, found, _use(demo, student, test))
    say(f"\ndone in {time.perf_counter() - started:.0f} s")
    return report


def _faces(demo: Demo) -> tuple[Path, Path]:
    """Photos to train on, and photos of other people to test on."""
    settings = demo.settings
    out = settings.out
    if settings.data is None:
        from facekd.samples import draw_people

        total = (settings.train_people + settings.test_people) * settings.photos
        demo.begin(
            f"drawing {settings.train_people} people to train on and {settings.test_people} others to "
            f"test on, {settings.photos} photos each (all of them synthetic)"
        )
        parts = (("train", settings.train_people, 0), ("test", settings.test_people, settings.train_people))
        with demo.progress("draw", total) as advance:
            for name, people, first in parts:
                draw_people(
                    out / "photos" / name, people, settings.photos, settings.seed, first, progress=advance
                )
        demo.facts.append(
            "All faces are synthetic. A student trained on them knows synthetic people only: it cannot "
            "recognise real ones, and its thresholds do not apply to them."
        )
        return out / "photos" / "train", out / "photos" / "test"
    demo.begin(f"splitting the people of {settings.data} into training and test")
    return _split(demo, lfw_folder() if settings.data == "lfw" else Path(settings.data))


def lfw_folder() -> Path:
    """The folder of LFW photos that scikit-learn's loader keeps; downloads them if the network allows."""
    from sklearn.datasets import fetch_lfw_people, get_data_home

    folder = Path(get_data_home()) / "lfw_home" / "lfw_funneled"
    if not folder.is_dir():
        try:
            fetch_lfw_people(min_faces_per_person=200, resize=0.1)  # keeps the photos on disk
        except Exception as error:
            raise InputOutput(
                f"scikit-learn has no LFW photos and could not fetch them ({type(error).__name__})",
                f"Put them under {folder}, give a folder with --data, or omit --data.",
            ) from error
    return folder


def _split(demo: Demo, data: Path) -> tuple[Path, Path]:
    """Copies of the photos of ``data``, to train on, and to test on: a quarter of the people, at most 100."""
    source = open_source(data)
    found = identities_in(source, demo.settings.root)
    people = people_of(found)
    several = sorted(person for person, names in people.items() if len(names) >= 3)
    if len(several) < 16:
        raise UsageError(
            f"{data}: {len(several)} people have three or more photos; a demonstration needs at least 16",
            "The data must be a folder (or zip) with a folder of photos per person.",
        )
    root = found.root
    rng = np.random.default_rng(demo.settings.seed)
    order = [several[int(k)] for k in rng.permutation(len(several))]
    held = max(4, min(demo.settings.test_people, len(order) // 4))
    test = order[:held]
    train = order[held:] + sorted(set(people) - set(several))
    chosen = (("test", test, MOST_PHOTOS // 4), ("train", train, MOST_PHOTOS * 3 // 4))
    for part, members, most in chosen:
        names = list(itertools.islice(itertools.chain.from_iterable(people[p] for p in members), most))
        for name in names:
            place = demo.settings.out / "photos" / part / _inside(name.removeprefix(f"{root}/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read(name))
        shown = {identity_of(name, root) for name in names}
        demo.say(f"{part}: {len(names):,} photos of {len(shown):,} people")
    demo.facts.append(
        f"Trained and tested on people of {data.name}, with nobody in both parts. So few photos show "
        "that the chain works, not how good a student can be."
    )
    return demo.settings.out / "photos" / "train", demo.settings.out / "photos" / "test"


def people_of(found: Identities) -> dict[str, list[str]]:
    """The photos of each person, without photos of unknown people."""
    people: dict[str, list[str]] = {}
    for name, person in found.of.items():
        if person is not None:
            people.setdefault(person, []).append(name)
    return people


def _inside(name: str) -> Path:
    """``name`` as a path that cannot leave the folder it is joined to."""
    return Path(*(part for part in name.split("/") if part not in ("", ".", "..")))


def _align(demo: Demo, photos: Path, part: str) -> Path:
    from facekd.workflows.align import AlignSettings, align_photos

    demo.begin(f"aligning the {part} photos ({demo.settings.detector}, 112 x 112 pixels)")
    target = demo.settings.out / f"{part}-crops.zip"
    settings = AlignSettings(detector=demo.settings.detector)
    done = align_photos([photos], target, settings, progress=demo.progress)
    reasons = ", ".join(f"{count} {reason}" for reason, count in done.reasons.items() if count)
    demo.say(f"{done.crops:,} crops of {done.photos:,} photos{f'; without: {reasons}' if reasons else ''}")
    if not done.crops:
        raise UsageError(f"no face was found in {photos}")
    return target


def _hold_out(crops: Path, listing: Path) -> Path:
    """Hold out a fifth of the training people, at least four: half of them choose the checkpoint, half set
    the thresholds."""
    several = sorted(
        person for person, names in people_of(identities_in(open_source(crops))).items() if len(names) >= 2
    )
    chosen = several[:: max(1, len(several) // max(4, len(several) // 5))]
    listing.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return listing


def _recipe(demo: Demo, crops: Path, heldout: Path, **changes: Any) -> Any:
    """A recipe for a short run on the training crops, with ``changes``."""
    from facekd.distillation import check_recipe

    drawn = demo.settings.data is None
    raw: dict[str, Any] = {
        "seed": demo.settings.seed,
        "data": {
            "labelled": [crops.resolve()],
            "heldout": heldout.resolve(),
            "detector": _detector_name(demo.settings.detector),
            "aligner": ALIGNER,
            "name": _DRAWN if drawn else Path(str(demo.settings.data)).name,
            "licence": "free: no real people are shown" if drawn else "that of the photos",
        },
        "augmentation": {"shift": 2.0, "rotate": 4.0, "scale": 0.05, "colour": 0.2},
        "schedule": {
            "batch": demo.settings.batch,
            "optimizer": "muon",
            "rate": 1e-2,
            "evaluations": 2,
            "start_size": 64,
        },
    }
    for table, values in changes.items():
        raw[table] = {**raw.get(table, {}), **values} if isinstance(values, dict) else values
    return check_recipe(raw, "the demonstration's recipe")


def _detector_name(spec: str) -> str:
    return make_detector(spec).name


def _train_teacher(demo: Demo, crops: Path, heldout: Path) -> Path:
    demo.begin("training a residual teacher from the labels (ArcFace)")
    recipe = _recipe(
        demo,
        crops,
        heldout,
        student={"name": "plainres_large"},
        loss=[_FROM_LABELS],
        schedule={"images": demo.settings.teacher_images, "start_share": 0.8},
    )
    return _run(demo, recipe, "teacher")


def _distil(demo: Demo, crops: Path, heldout: Path, teacher: Path) -> tuple[Path, Path]:
    demo.begin("distilling a student (features and logits), and its baseline without the teacher")
    recipe = _recipe(
        demo,
        crops,
        heldout,
        student={"name": "plainres_small"},
        teacher={"models": [str(teacher.resolve())], "views": 1},
        loss=[{"name": "cosine"}, {"name": "logit", "weight": 0.1}],
        schedule={"images": demo.settings.student_images},
    )
    student = _run(demo, recipe, "student")
    alone = recipe.model_dump() | {"teacher": None, "loss": [_FROM_LABELS]}
    from facekd.distillation import check_recipe

    return student, _run(demo, check_recipe(alone, "the baseline's recipe"), "baseline")


def _run(demo: Demo, recipe: Any, name: str) -> Path:
    """Train by a recipe and export the network; adds a row to the report."""
    from facekd.export import export
    from facekd.workflows.train import train_recipe

    folder = demo.settings.out / "runs" / name
    outcome = train_recipe(recipe, folder, demo.say, demo.progress)
    exported = export(folder, tell=demo.say, progress=demo.progress)
    if exported.uncalibrated:
        demo.say(f"no threshold: {exported.uncalibrated}")
    losses = " + ".join(f"{t.weight:g} {t.name}" for t in recipe.loss)
    demo.rows.append(
        (
            name,
            recipe.student.name,
            losses,
            f"{outcome.images:,}",
            f"{outcome.label_seconds:.0f} s" if recipe.teacher else "-",
            f"{outcome.train_seconds:.0f} s",
            _heldout(outcome),
        )
    )
    return exported.path


def _heldout(outcome: Outcome) -> str:
    if outcome.heldout_tar is None:
        return "-"
    held = outcome.heldout_interval
    return f"{outcome.heldout_tar:.1%}" + (f" ({held[0]:.1%} to {held[1]:.1%})" if held else "")


def _as_path(name: str) -> str:
    """``name`` as a path to the same photo that no spreadsheet interprets as a formula."""
    return name if harmless_cell(name) == name else f"./{name}"


def _pairs(demo: Demo, crops: Path, listing: Path) -> Path:
    """Write as many mated as non-mated pairs of the test people, in folds without common people."""
    people = people_of(identities_in(open_source(crops)))
    members = sorted(people)
    folds = max(2, min(10, len(members) // 2))
    rng = np.random.default_rng(demo.settings.seed)
    with listing.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path1", "path2", "label", "fold"])
        for fold in range(folds):
            inside = members[fold::folds]
            mated = [p for person in inside for p in itertools.combinations(people[person], 2)]
            others = [
                (one, two)
                for first, second in itertools.combinations(inside, 2)
                for one, two in itertools.product(people[first], people[second])
            ]
            count = min(len(mated), len(others), 300)
            for label, pairs in ((1, mated), (0, others)):
                for k in rng.permutation(len(pairs))[:count]:
                    writer.writerow([*map(_as_path, pairs[int(k)]), label, fold])
    return listing


def _use(demo: Demo, student: Path, photos: Path) -> list[Used]:
    """Enroll and verify test people with the student, then with the shipped one."""
    from facekd.weights import shipped_model
    from facekd.workflows.demo_use import use_model

    # named like the folder in the user's call
    named = demo.settings.out / "runs" / "student" / student.name
    models = [("distilled student", named, "", True)]
    shipped = shipped_model()
    if shipped is not None:
        models.append(("shipped student", shipped, "-shipped", False))
    found = []
    for title, model, name, stated in models:
        demo.begin(f"enrolling test people with the {title} and verifying claims")
        used = use_model(title, model, photos, demo.settings.out, name, demo.settings.detector, stated)
        for call in used.calls:
            demo.say("\n".join(filter(None, (f"$ {call.command}", call.answer))))
        demo.say(used.told())
        found.append(used)
    return found


def _benchmark(demo: Demo, teacher: Path, students: list[Path], crops: Path, pairs: Path) -> Benchmark:
    from facekd.verification.protocols import PairList, open_protocol
    from facekd.workflows.benchmark import TestData, benchmark_models

    demo.begin("benchmarking the student against its teacher and the baseline")
    protocol = open_protocol("pairs", pairs)
    assert isinstance(protocol, PairList)
    test = TestData(crops, protocol, None, faces=demo.settings.data is None)
    return benchmark_models(teacher, students, test, tell=demo.say, progress=demo.progress)


def _write(demo: Demo, found: Benchmark, used: list[Used]) -> Path:
    from facekd.reporting import Section, Table, write_benchmark_page
    from facekd.workflows.demo_use import shipped_note, used_sections

    columns = ("run", "network", "losses", "images seen", "labelling", "training", "held-out TAR at FMR 1e-3")
    training = Section(
        "Training",
        tuple(demo.facts[1:]),
        (Table(columns, tuple(demo.rows), "What was trained, and its held-out TAR with the 95 % interval"),),
    )
    data = demo.settings.data
    notes = [shipped_note(one, drawn=data is None) for one in used[1:]]
    report = demo.settings.out / "report.html"
    title = "facekd demonstration: " + (_DRAWN if data is None else Path(data).name)
    write_benchmark_page(report, found, title, demo.facts[0], [training, *used_sections(used, notes)])
    return report
