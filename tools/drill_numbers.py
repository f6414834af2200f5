"""Drills of A11 to A13: files, and consistent statistics."""

from __future__ import annotations

import itertools
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from drill_list import Outcome, drill, fact, together
from drill_material import first_card, made_network
from drill_site import EVALUATE, ROOT, Site, fill


@drill(
    "A11", "write a card into a model of mode 0600 behind a symbolic link", "mode and link stay", short=True
)
def mode_and_link_are_kept(site: Site) -> Outcome:
    work = site.new()
    real = Path(shutil.copy(site.model, work / "real.onnx"))
    real.chmod(0o600)
    (work / "link.onnx").symlink_to("real.onnx")
    before = real.read_bytes()
    ran = site.facekd("card", work / "link.onnx", "--set", "licence=drilled")
    mode = stat.S_IMODE(real.stat().st_mode)
    return together(
        ran.check(0),
        fact((work / "link.onnx").is_symlink() and real.read_bytes() != before, "the link's file is written"),
        fact(mode == 0o600, f"mode {mode:04o}"),
        fact(len(list(work.iterdir())) == 2, "nothing is left beside it"),
    )


@drill("A11", "calibrate --out", "a copy with thresholds; the model's bytes stay")
def calibrate_writes_a_copy(site: Site) -> Outcome:
    before = site.model.read_bytes()
    code = "import sys; from facekd.card import read_card; print(len(read_card(sys.argv[1])[0].calibration))"
    count = site.python(code, site.calibrated).out.strip()
    return together(
        fact(site.model.read_bytes() == before, "the model is as it was"),
        fact(count == "1", f"{count} threshold in the copy"),
    )


@drill("A11", "write a card on a full disk", "exit 5, 'the disk is full', the model's bytes stay")
def card_on_a_full_disk(site: Site) -> Outcome:
    with site.small_disk(8) as disk:
        model = Path(shutil.copy(site.model, disk / "m.onnx"))
        before = model.read_bytes()
        fill(disk)
        ran = site.facekd("card", model, "--set", "licence=drilled")
        same = model.read_bytes() == before
    return together(ran.check(5, "the disk is full"), fact(same, "the model is as it was"))


@drill("A12", "evaluate and benchmark two models on the same pairs", "one interval for their difference")
def one_interval_for_a_difference(site: Site) -> Outcome:
    work = site.new()
    pairs = _pair_list(site, work)
    other = made_network(work / "other.onnx")
    first_card(site, other)
    judged = site.facekd(
        *EVALUATE, site.model, other, "--protocol", "pairs", "--data", site.crops, "--pairs", pairs,
        "--aligned", "--json",
    )  # fmt: skip
    measured = site.facekd(
        "benchmark", site.model, other, "--protocol", "pairs", "--data", site.crops,
        "--pairs", pairs, "--aligned", "--json",
    )  # fmt: skip
    if judged.code or measured.code:
        return together(judged.check(0), measured.check(0))
    ours, theirs = _intervals(judged.document()), _intervals(measured.document())
    same = {one for one in ours for two in theirs if _equal(one, two)}
    return fact(bool(same), f"evaluate {sorted(ours)}, benchmark {sorted(theirs)}")


@drill("A12", "evaluate people none of whom match falsely",
       "a bound of three over the pairs of identities, and the text says so")  # fmt: skip
def the_bound_counts_identities(site: Site) -> Outcome:
    work = site.new()
    people = 12
    crops = _pattern_people(work / "people", people, 6)
    model = made_network(work / "m.onnx")
    first_card(site, model)
    ran = site.facekd(*EVALUATE, model, "--protocol", "people", "--data", crops, "--aligned")
    bound = 3 / (people * (people - 1) / 2)
    text = ran.out + ran.err
    numbers = [float(one) for one in re.findall(r"\d\.?\d*e-\d+|0\.\d+", text)]
    near = [one for one in numbers if abs(one / bound - 1) < 0.02]
    return together(
        ran.check(0, "pairs of identities"), fact(bool(near), f"bound {bound:.2g}: {near or numbers[:8]}")
    )


@drill("A12", "evaluate models named a, a and 'a (1)'", "three results of three names")
def no_model_is_lost(site: Site) -> Outcome:
    work = site.new()
    models = []
    for folder, name in (("1", "a"), ("2", "a"), ("3", "a (1)")):
        (work / folder).mkdir()
        models.append(made_network(work / folder / f"{name}.onnx"))
        first_card(site, models[-1])
    crops = _pattern_people(work / "people", 6, 4)
    ran = site.facekd(*EVALUATE, *models, "--protocol", "people", "--data", crops, "--aligned", "--json")
    names = [one.get("model") or one.get("name") for one in _results(ran.document())]
    return together(ran.check(0), fact(len(set(map(str, names))) == 3 == len(names), f"names {names}"))


@drill("A13", "decode a transparent PNG for training and for evaluation", "the same pixels", short=True)
def one_decoder(site: Site) -> Outcome:
    place = site.new() / "p"
    place.mkdir()
    return site.python(_TWO_DECODERS, place).check(0, "largest difference 0")


_TWO_DECODERS = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from facekd.preprocess import decode
from facekd.training.data import open_crops
place = Path(sys.argv[1])
pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 4), np.uint8)
Image.fromarray(pixels, "RGBA").save(place / "a.png")
trained = open_crops([place.parent]).read(0)
judged = decode(place / "a.png").pixels
print("largest difference", int(np.abs(trained.astype(int) - judged.astype(int)).max()))
"""


@drill("A13", "search the docs for ema.safetensors, which nothing writes", "not there", short=True)
def docs_speak_of_files_that_are_written(site: Site) -> Outcome:
    found = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")
             if "ema.safetensors" in path.read_text(encoding="utf-8")]  # fmt: skip
    return fact(not found, ", ".join(found) or "not there")


@drill("A13", "evaluate 1:N over 130 people with --json", "a CMC of 100 ranks")
def a_hundred_ranks(site: Site) -> Outcome:
    work = site.new()
    people = _pattern_people(work / "all", 140, 2)
    for folder, names, photo in (
        ("gallery", range(130), "1"),
        ("probe", range(130), "2"),
        ("unknown", range(130, 140), "1"),
    ):
        for number in names:
            target = work / "sets" / folder / f"P{number:03d}"
            target.mkdir(parents=True)
            shutil.copy(people / f"P{number:03d}" / f"{photo}.png", target)
    model = made_network(work / "m.onnx")
    first_card(site, model)
    ran = site.facekd(
        *EVALUATE, model, "--protocol", "identification", "--data", work / "sets", "--aligned", "--json"
    )
    lengths = sorted({len(one) for one in _lists(ran.document(), "cmc")})
    return together(ran.check(0), fact(bool(lengths) and max(lengths) <= 100, f"CMC of {lengths} ranks"))


def _pattern_people(folder: Path, people: int, photos: int) -> Path:
    """Crops of random patterns, one a person, changed a little in each photo."""
    import cv2

    random = np.random.default_rng(0)
    for person in range(people):
        pattern = random.integers(0, 256, (8, 8, 3))
        (folder / f"P{person:03d}").mkdir(parents=True)
        for number in range(1, photos + 1):
            small = pattern + random.normal(0, 25, (8, 8, 3))
            crop = np.clip(np.kron(small, np.ones((14, 14, 1))), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"P{person:03d}" / f"{number}.png"), crop)
    return folder


def _pair_list(site: Site, work: Path) -> Path:
    """A CSV of mated and non-mated pairs of drawn people's crops, many of each person."""
    people = sorted(site.crops.iterdir())
    rows = ["path1,path2,label"]
    for number, person in enumerate(people):
        mine = sorted(person.iterdir())
        other = sorted(people[(number + 1) % len(people)].iterdir())
        for a, b in itertools.pairwise(mine):
            rows.append(f"{a.parent.name}/{a.name},{b.parent.name}/{b.name},1")
        for a, b in zip(mine, other, strict=False):
            rows.append(f"{a.parent.name}/{a.name},{b.parent.name}/{b.name},0")
    (work / "pairs.csv").write_text("\n".join(rows) + "\n")
    return work / "pairs.csv"


def _results(document: dict[str, Any]) -> list[dict[str, Any]]:
    for value in (document.get("results"), document.get("models"), document):
        if isinstance(value, list):
            return [one for one in value if isinstance(one, dict)]
    return [document]


def _lists(value: Any, key: str) -> Iterator[list[Any]]:
    """Every list under ``key``, wherever in a document."""
    if isinstance(value, dict):
        for name, inside in value.items():
            if name == key and isinstance(inside, list):
                yield inside
            yield from _lists(inside, key)
    elif isinstance(value, list):
        for inside in value:
            yield from _lists(inside, key)


def _intervals(value: Any, below: str = "") -> set[tuple[float, float]]:
    """Every interval of a difference in a document: ``low`` and ``high`` below or beside such a key."""
    found: set[tuple[float, float]] = set()
    if isinstance(value, dict):
        named = "difference" in below or "difference" in value
        if named and {"low", "high"} <= value.keys() and None not in (value["low"], value["high"]):
            found.add((round(float(value["low"]), 6), round(float(value["high"]), 6)))
        for name, inside in value.items():
            found |= _intervals(inside, f"{below} {name} {'difference' if 'difference' in value else ''}")
    elif isinstance(value, list):
        for inside in value:
            found |= _intervals(inside, below)
    return found


def _equal(one: tuple[float, float], two: tuple[float, float]) -> bool:
    """Whether two intervals are the same, also if they are in points, or of the difference with the opposite
    sign."""
    turned = (-two[1], -two[0])
    return any(
        all(abs(a - factor * b) < 2e-4 for a, b in zip(one, other, strict=True))
        for other in (two, turned) for factor in (1, 0.01, 100)
    )  # fmt: skip
