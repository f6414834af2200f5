"""Somebody else's package adds a protocol, a detector, a loss and a network: one file each, and nothing of
facekd is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_lines import Called, called
from other_packages import install
from patterned_people import write_people
from tiny_model import write_tiny_model

PROTOCOL = """
from facekd.verification.protocols import Pair, PairList, pair_list, read_text, register

@register("twins", "two names a line", lists=("twins.two",), suffixes=(".two",), pairs_of_photos=True)
def read(path) -> PairList:
    rows = [line.split() for line in read_text(path).splitlines()]
    return pair_list("twins", path, [Pair(a, b, a.split("/")[0] == b.split("/")[0]) for a, b in rows])

@register("nameless", "a list of no usual name", pairs_of_photos=True)
def read_nameless(path) -> PairList:
    return read(path)
"""

DETECTOR = """
import numpy as np
from facekd.preprocess import Face
from facekd.preprocess.detectors import register

class Middle:
    name = "middle"

    def detect(self, pixels):
        points = np.array([[.34, .46], [.66, .46], [.5, .64], [.37, .82], [.63, .82]], np.float32)
        size = np.float32(pixels.shape[1])
        return [Face(np.array([0, 0, size, size], np.float32), 0.9, points * size)]

@register("middle", "middle[:NOTHING]")
def middle(file, device, threads):
    return Middle()
"""

LOSS = """
import torch
from facekd.distillation.losses import Loss, register_loss

@register_loss("huber")
class Huber(Loss):
    whole_batch = False

    def __init__(self, setting, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, student, teacher, example, progress):
        huber = torch.nn.functional.huber_loss
        return {"huber": huber(student.embedding, teacher.embedding, delta=self.delta)}
"""

NETWORK = """
from torch import nn
from facekd.models import FaceNet, register

class Flat(FaceNet):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.head = dim, nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(147, dim))

    def forward(self, planes):
        return self.head(planes)

@register("flat")
def flat(dim: int = 8) -> Flat:
    return Flat(dim)
"""

POINTS = """[facekd.protocols]
twins = extra_protocol
nameless = extra_protocol
[facekd.detectors]
middle = extra_detector
broken = extra_nowhere
[facekd.losses]
huber = extra_loss
stale = extra_old_loss
[facekd.models]
flat = extra_network
vanished = extra_nowhere
"""

#: of a time when losses were registered otherwise
OLD_LOSS = "from facekd.distillation.losses import registered_loss"

RECIPE = """
seed = 1
[data]
labelled = ["crops"]
heldout = "heldout.txt"
[student]
name = "flat"
settings = { dim = 16 }
[teacher]
models = ["teacher.onnx"]
[[loss]]
name = "huber"
settings = { delta = 0.5 }
[schedule]
images = 96
batch = 8
precision = "float32"
"""


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    modules = {
        "protocol": PROTOCOL, "detector": DETECTOR, "loss": LOSS, "network": NETWORK, "old_loss": OLD_LOSS,
    }  # fmt: skip
    place = tmp_path_factory.mktemp("site") / "packages"
    return install(place, "facekd-extra", {f"extra_{name}": text for name, text in modules.items()}, POINTS)


def python(
    extra: Path | None, *arguments: object, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """In a process of its own, so that this one's registries stay as they are; ``extra`` `None` is an
    installation without the package."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment(extra, cwd),
    )  # fmt: skip


def environment(extra: Path | None, cwd: Path | None) -> dict[str, str]:
    path = os.pathsep.join([*([str(extra)] if extra else []), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "FACEKD_CACHE": str((cwd or Path.cwd()) / "cache")}


def facekd_calls(
    extra: Path | None, place: Path, *lines: Sequence[object], cwd: Path | None = None
) -> list[Called]:
    """As `python`, of ``facekd`` with each of ``lines`` in turn."""
    return called(place, *lines, cwd=cwd, env=environment(extra, cwd))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of each of eight patterns, whole pictures that serve as crops."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for person in range(8):
        (folder / f"p{person}").mkdir()
        face = cv2.resize(random.uniform(0, 255, (7, 7, 3)).astype(np.float32), (112, 112))
        for number in range(3):
            noisy = np.clip(face + 20 * random.normal(size=face.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"p{person}" / f"{number}.png"), noisy)
    return folder


def test_a_protocol_is_suggested_helped_and_run(extra: Path, photos: Path, tmp_path: Path) -> None:
    mated = [f"p{n}/0.png p{n}/{k}.png" for n in range(8) for k in (1, 2)]
    others = [f"p{n}/{k}.png p{(n + 1) % 8}/{k}.png" for n in range(8) for k in (0, 1)]
    (photos / "twins.two").write_text("\n".join(mated + others))
    model = write_tiny_model(tmp_path / "tiny.onnx")
    command = ("evaluate", model, "--data", photos, "--aligned", "--json")
    suggested, named, without, *helped = facekd_calls(
        extra,
        tmp_path / "calls",
        (*command, "--pairs", photos / "twins.two"),
        (*command, "--protocol", "twins"),
        (*command, "--protocol", "nameless"),
        *((name, "--help") for name in ("evaluate", "benchmark", "degrade")),
    )
    assert suggested.code == named.code == 0, suggested.err + named.err
    assert f"list of pairs: {photos / 'twins.two'}" in named.err
    told = json.loads(suggested.out)
    assert told["protocol"] == "twins"
    assert told["models"][0]["comparisons"]["mated"] == 16
    assert without.code == 2
    assert "protocol nameless needs its list\nGive it with --pairs FILE." in without.err
    for one in helped:
        shown = " ".join(one.out.split())
        assert "twins (two names a line)" in shown
        assert "twins for a --pairs FILE.two" in shown


def test_a_detector_is_named_and_a_broken_one_hinders_nobody(
    extra: Path, photos: Path, tmp_path: Path
) -> None:
    ran, broken, helped = facekd_calls(
        extra,
        tmp_path / "calls",
        ("align", photos, tmp_path / "crops", "--detector", "middle"),
        ("align", photos, tmp_path / "other", "--detector", "broken"),
        ("align", "--help"),
    )
    assert ran.code == 0, ran.err
    assert len(list((tmp_path / "crops").glob("*/*"))) == len(list(photos.glob("*/*.png")))
    assert broken.code == 2
    assert "the detector 'broken' of the package facekd-extra cannot be loaded" in broken.err
    shown = " ".join(helped.out.split())
    assert "mtcnn[:DIR], scrfd:FILE, yunet:FILE or middle[:NOTHING]" in shown


BUILT = """
import torch
from facekd.distillation.losses import Classes, Setting, check_settings, loss_class, loss_names
from facekd.models import Outputs, Targets, build_model, check_model, model_names, rehearse_model

assert {"huber", "cosine"} <= set(loss_names())
assert {"flat", "plainres"} <= set(model_names())
assert check_settings("huber", {"delta": 2}) == []
assert "delta" in check_settings("huber", {"delta": "two"})[0]
assert check_model("flat", {"dim": 4}) == []
classes = Classes(torch.zeros(1, dtype=torch.int64), torch.zeros(0, 4))
loss = loss_class("huber")(Setting(4, 4, classes, torch.zeros(0, 4)), delta=2.0)
embedding = build_model("flat", dim=4)(torch.zeros(3, 3, 112, 112))
terms = loss(Outputs(embedding), Targets(torch.zeros(3, 4)), None, 0.0)
print(rehearse_model("flat", {"dim": 4}).network.dim, list(terms))
"""


def test_a_loss_and_a_network_are_built_by_name(extra: Path) -> None:
    ran = python(extra, "-c", BUILT)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "4 ['huber']\n"


#: what is changed in the recipe, with what is then told of it
FAULTS = (
    {
        "delta = 0.5": ('delta = "half"', "loss 'huber': delta = \"half\" should be a valid number"),
        "dim = 16": ("width = 16", "model 'flat' has no setting 'width' (it has: dim)"),
    },
    {
        '"huber"': ('"stale"', "the loss 'stale' of the package facekd-extra cannot be loaded: Import"),
        '"flat"': ('"vanished"', "the model 'vanished' of the package facekd-extra cannot be loaded"),
    },
)  # fmt: skip


@pytest.mark.long
class TestARun:
    """A loss and a network of the package in a recipe, from the check to the exported file."""

    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("run")
        write_people(folder / "crops", people=60)
        (folder / "heldout.txt").write_text("\n".join(f"P{number:02d}" for number in range(20, 60)))
        write_tiny_model(folder / "teacher.onnx", dim=16)
        (folder / "recipe.toml").write_text(RECIPE)
        for number, changes in enumerate(FAULTS):
            text = RECIPE
            for old, (new, _) in changes.items():
                assert old in text
                text = text.replace(old, new)
            (folder / f"faulty{number}.toml").write_text(text)
        return folder

    @pytest.fixture(scope="class")
    def with_it(self, extra: Path, place: Path) -> list[Called]:
        """The output with the package installed."""
        return facekd_calls(
            extra,
            place / "with",
            ("recipe", "check", "recipe.toml"),
            ("distill", "recipe.toml", "--run", "run", "--workers", 0, "--json"),
            ("export", "run", "--out", "flat.onnx"),
            *(("recipe", "check", f"faulty{number}.toml") for number in range(len(FAULTS))),
            cwd=place,
        )

    @pytest.fixture(scope="class")
    def without_it(self, with_it: list[Called], place: Path) -> list[Called]:
        """The output without it, for the same run and its exported network."""
        assert (place / "flat.onnx").is_file(), with_it
        return facekd_calls(
            None,
            place / "without",
            ("recipe", "check", "recipe.toml"),
            ("export", "run", "--out", "again.onnx"),
            ("evaluate", "flat.onnx", "--protocol", "people", "--data", "crops", "--aligned", "--json"),
            cwd=place,
        )

    def test_is_trained_and_exported(self, with_it: list[Called], place: Path) -> None:
        checked, trained, exported = with_it[:3]
        assert checked.out.startswith("student flat; teacher "), checked.err
        assert "losses 1 huber" in checked.out
        assert trained.code == 0, trained.err
        assert json.loads(trained.out)["images"] == 96
        lines = (place / "run" / "metrics.jsonl").read_text().splitlines()
        losses = [record for record in map(json.loads, lines) if "loss" in record]
        assert losses
        assert all(any("huber" in key for key in record) for record in losses)
        assert exported.code == 0, exported.err

    def test_is_exported_with_the_package_and_then_needs_it_no_more(self, without_it: list[Called]) -> None:
        _, bare, alone = without_it
        assert bare.code == 2
        assert "no model is named 'flat'" in bare.err
        assert alone.code == 0, alone.err
        assert json.loads(alone.out)["models"][0]["comparisons"]["failed_mated"] == 0

    @pytest.mark.parametrize("number", range(len(FAULTS)))
    def test_its_faults_are_told_like_those_of_facekds_own(self, with_it: list[Called], number: int) -> None:
        checked = with_it[3 + number]
        assert (checked.code, checked.out) == (2, "")
        told = " ".join(checked.err.split())
        assert "2 fault(s)" in told
        assert [fault for _, fault in FAULTS[number].values() if fault not in told] == [], told
        assert "Traceback" not in told

    def test_without_the_package_its_names_are_unknown(self, without_it: list[Called]) -> None:
        checked = without_it[0]
        assert checked.code == 2
        assert "no loss is named 'huber'" in checked.err
        assert "no model is named 'flat'" in checked.err


def test_a_detector_serves_every_call_from_python(extra: Path, photos: Path, tmp_path: Path) -> None:
    """And the gallery says with which detector it was made."""
    model = write_tiny_model(tmp_path / "tiny.onnx")
    program = f"""
import facekd

one, other, stranger = {[str(photos / name) for name in ("p0/0.png", "p0/1.png", "p1/0.png")]!r}
print(facekd.align(one, detector="middle").face.box.tolist())
recognizer = facekd.Recognizer({str(model)!r}, detector="middle", threshold=0.5)
print(recognizer.verify(one, other).same, recognizer.verify(one, stranger).same)
gallery = facekd.Gallery("gallery.db", recognizer=recognizer)
print(gallery.enroll("Ann", [one, other]).templates, gallery.verify(stranger, "Ann").same)
for name in ("broken", "nobody"):
    try:
        facekd.Recognizer({str(model)!r}, detector=name)
    except facekd.UsageError as error:
        print(error.cause)
"""
    ran = python(extra, "-c", program, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    box, verified, enrolled, broken, unknown = ran.stdout.splitlines()
    assert box == "[0.0, 0.0, 112.0, 112.0]"
    assert (verified, enrolled) == ("True False", "2 False")
    assert broken.startswith("the detector 'broken' of the package facekd-extra cannot be loaded")
    assert unknown == "no detector is named 'nobody'"
    listed = python(
        None, "-m", "facekd", "gallery", "list", "--gallery", "gallery.db", "--json", cwd=tmp_path
    )
    assert json.loads(listed.stdout)["detector"] == "middle"
