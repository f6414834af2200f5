"""Training on an accelerator, on the CPU and on next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from small_run import make_place
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from accelerator_clock import Clock
from accelerator_recipe import Options
from accelerator_teacher import OnlineTeacher, student_rows, tar_on_device, torch_specs
from accelerator_views import Chances, ShuffledCrops, ViewMaker, decoded, drawn
from packed_weights import packed, unpacked, write_shards
from safetensors.torch import load_file, save_file
from train_on_accelerator import main

from facekd.models import build_model
from facekd.models._saved import read_saved
from facekd.models.teachers import load_teacher
from facekd.training import Augmentation, RunFolder, load_weights
from facekd.training.data import EpochOrder, open_crops
from facekd.verification import all_pairs

TOOL = Path(__file__).parents[2] / "tools" / "train_on_accelerator.py"
DEFAULT = Augmentation(
    shift=2.0, rotate=4.0, scale=0.05, colour=0.2, p_grey=0.03, p_low_resolution=0.1, p_blur=0.05
)
#: the same with every fault that it knows
HARSH = Augmentation(
    shift=6.0, rotate=12.0, scale=0.2, colour=0.4, p_grey=0.3, p_low_resolution=0.5, p_blur=0.5
)
RECIPE = """
seed = 3
[data]
labelled = ["crops"]
heldout = "heldout.txt"
[student]
name = "plainres"
settings = {{ dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }}
[teacher]
models = ["{teacher}"]
floor = 0
[augmentation]
shift = 2.0
colour = 0.2
{more}
[[loss]]
name = "cosine"
[schedule]
images = 96
batch = 8
optimizer = "muon"
rate = 1.5e-2
shape = "wsd"
warmup = 0.1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops, held-out people, a recipe, and a teacher: a run folder of a network that has learned nothing."""
    folder = make_place(tmp_path_factory.mktemp("place"))
    teacher = folder / "teacher"
    (teacher / "checkpoints" / "step-0").mkdir(parents=True)
    (teacher / "recipe.toml").write_text('[student]\nname = "plainres_small"\nsettings = { dim = 24 }\n')
    torch.manual_seed(0)
    net = build_model("plainres_small", dim=24)
    save_file(net.state_dict(), teacher / "checkpoints" / "step-0" / "model.safetensors")
    (teacher / "checkpoints" / "last").symlink_to("step-0")
    (folder / "fast.toml").write_text(RECIPE.format(teacher="teacher", more=""))
    return folder


def call(place: Path, name: str, *more: object) -> int:
    torch.set_num_threads(1)
    options = ["--device", "cpu", "--batch", "8", "--precision", "float32", "--teacher-precision", "float32"]
    told = [place / "fast.toml", "--out", place / name, *options, "--processes", 1, *more]
    return main([str(one) for one in told])


def as_drawn(augmentation: Augmentation, key: tuple[int, int, int]) -> Chances:
    """What `Augmentation.view` draws for ``key``, which has no other faults than those made on a device."""
    a, rng = augmentation, np.random.default_rng(key)
    moves = rng.uniform(-1, 1, 4) * (a.rotate, a.scale, a.shift, a.shift)
    factors = 1 + rng.uniform(-1, 1, 3) * a.colour
    grey = rng.random() < a.p_grey
    low, blur, _ = rng.random(3) < (a.p_low_resolution, a.p_blur, a.p_jpeg)
    small, soft, _ = rng.uniform(0, 1, 3)
    reduced = round(a.low_resolution + small * (84 - a.low_resolution)) if low else 0
    values = [*moves, *factors[:2], 0.0 if grey else factors[2]]
    rows = [torch.tensor([value], dtype=torch.float32) for value in values]
    sigma = torch.tensor([0.5 + 1.5 * soft if blur else 0.0], dtype=torch.float32)
    return Chances(*rows, torch.tensor([reduced]), sigma, torch.tensor([False]))


def picture(seed: int) -> np.ndarray:
    """A smooth picture with edges in it, as a face has."""
    rng = np.random.default_rng(seed)
    pixels = cv2.resize(rng.integers(0, 256, (9, 9, 3), np.uint8), (112, 112), interpolation=cv2.INTER_CUBIC)
    cv2.circle(pixels, (40, 50), 12, (20, 40, 200), -1)
    return pixels


def test_views_are_those_of_the_processor_for_the_same_chances() -> None:
    maker = ViewMaker(HARSH)
    seen = {"grey": 0, "low": 0, "blur": 0}
    for number in range(24):
        crop, key = picture(number), (5, number, 0)
        chances = as_drawn(HARSH, key)
        made = maker(torch.from_numpy(crop)[None], chances)[0].numpy().astype(int)
        wanted = HARSH.view(crop, key).astype(int)
        off = np.abs(made - wanted)
        # OpenCV rounds after every step, and places to a 32nd of a pixel
        assert off.mean() < 1.0, (number, off.mean())
        assert np.quantile(off, 0.99) <= 6
        seen["grey"] += int(chances.saturation[0] == 0)
        seen["low"] += int(chances.reduced[0] > 0)
        seen["blur"] += int(chances.sigma[0] > 0)
    assert all(count >= 3 for count in seen.values()), seen


def test_a_mirrored_view_is_the_view_mirrored() -> None:
    crop = torch.from_numpy(picture(0))[None]
    maker, chances = ViewMaker(DEFAULT), drawn(DEFAULT, torch.tensor([False]), 0, 0)
    flipped = Chances(**{**vars(chances), "mirrored": torch.tensor([True])})
    assert torch.equal(maker(crop, flipped), maker(crop, chances).flip(2))


def test_what_is_drawn_has_the_limits_and_the_shares_of_the_recipe() -> None:
    count = 20_000
    c = drawn(DEFAULT, torch.zeros(count, dtype=torch.bool), 7, 1024)
    theirs = [as_drawn(DEFAULT, (7, number, 0)) for number in range(2000)]
    for name, limit, middle in (
        ("angle", 4, 0), ("zoom", 0.05, 0), ("dx", 2, 0), ("dy", 2, 0),
        ("brightness", 0.2, 1), ("contrast", 0.2, 1),
    ):  # fmt: skip
        mine = getattr(c, name) - middle
        other = torch.cat([getattr(one, name) for one in theirs]) - middle
        assert mine.abs().max() <= limit * (1 + 1e-6)
        assert mine.abs().max() > 0.99 * limit
        assert abs(float(mine.mean())) < 0.03 * limit
        assert float(mine.std()) == pytest.approx(limit / 3**0.5, rel=0.02)
        assert float(other.std()) == pytest.approx(limit / 3**0.5, rel=0.05)
    for share, wanted in ((c.saturation == 0, 0.03), (c.reduced > 0, 0.1), (c.sigma > 0, 0.05)):
        # five standard errors
        assert abs(float(share.float().mean()) - wanted) < 5 * (wanted * (1 - wanted) / count) ** 0.5
    sides, sigmas = c.reduced[c.reduced > 0], c.sigma[c.sigma > 0]
    assert (int(sides.min()), int(sides.max())) == (28, 84)
    assert 0.5 <= float(sigmas.min()) < 0.52
    assert 1.98 < float(sigmas.max()) <= 2
    # the same for the same images, others for others
    again = drawn(DEFAULT, torch.zeros(count, dtype=torch.bool), 7, 1024)
    later = drawn(DEFAULT, torch.zeros(count, dtype=torch.bool), 7, 2048)
    assert torch.equal(c.angle, again.angle)
    assert not torch.equal(c.angle, later.angle)


def test_crops_come_in_the_order_of_a_run_of_facekd() -> None:
    theirs, mine = EpochOrder(10, 0, 4, True), ShuffledCrops(10, 4, True)
    wanted = [theirs.at(position) for position in range(35)]
    found = [mine.batch(position, 7) for position in range(0, 35, 7)]
    assert torch.cat([crops for crops, _ in found]).tolist() == [view.crop for view in wanted]
    assert torch.cat([flips for _, flips in found]).tolist() == [view.mirrored for view in wanted]
    assert not ShuffledCrops(10, 4, False).batch(0, 20)[1].any()


def test_crops_are_decoded_alike_by_one_process_and_by_several(place: Path) -> None:
    crops = open_crops([place / "crops"])
    alone = decoded(crops, 1)
    assert torch.equal(alone, decoded(crops, 2))
    assert np.array_equal(alone[5].numpy(), crops.read(5))


def test_the_heldout_figure_is_that_of_facekd() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 60, 2500)
    rows = rng.normal(size=(2500, 16)) + 1.5 * rng.normal(size=(60, 16))[labels]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    for fmr in (1e-2, 1e-3, 1e-4):
        found = tar_on_device(torch.from_numpy(rows), torch.from_numpy(labels), fmr)
        assert found == pytest.approx(all_pairs(rows, labels).tar_at(fmr), abs=1e-6)
        assert 0.01 < found < 0.99


def test_a_run_is_one_of_facekd_and_goes_on(place: Path, facekd, tmp_path: Path) -> None:
    assert call(place, "fast", "--images", 400, "--shards", tmp_path / "shards") == 0
    run = RunFolder.open(place / "fast")
    losses = [record["loss"] for record in run.metrics() if "loss" in record]
    assert len(losses) == 2
    assert losses[-1] < losses[0]
    assert run.state()["images"] == 400
    # what was kept before the rate fell is there to go on from
    assert 250 <= run.state("stable")["images"] <= 330
    net, card = read_saved(place / "fast")
    assert (net.dim, card.provenance.images_seen) == (16, run.state("best")["images"])
    assert card.teacher.space == load_teacher(str(place / "teacher")).space
    out = place / "fast.onnx"
    (tmp_path / "others").mkdir()
    for number in range(64):
        (tmp_path / "others" / f"q{number // 8}").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "others" / f"q{number // 8}" / f"{number}.png"), picture(number))
    ran = facekd("export", place / "fast", "--out", out, "--data", tmp_path / "others")
    assert ran.code == 0, ran.err
    assert out.is_file()
    # and the score is what facekd finds for the same weights
    held = open_crops([place / "crops"])
    keep = np.isin([held.people[k] for k in held.labels], ["p4", "p6"])
    chosen = held.take(keep)
    pixels = torch.from_numpy(np.stack([chosen.read(i) for i in range(len(chosen))]))
    score = all_pairs(student_rows(net, pixels).numpy(), chosen.labels).tar_at(1e-3)
    assert run.state("best")["heldout_tar_1e-3"] == pytest.approx(score)
    # the shards hold the last weights, projector included
    kept = {k: v for file in sorted((tmp_path / "shards").iterdir()) for k, v in load_file(file).items()}
    last = load_weights(place / "fast", "last")
    back = unpacked(kept)
    assert torch.equal(back["stage1.0.0.weight"], last["stage1.0.0.weight"])
    assert back["losses.0.match.projector.weight"].shape == (24, 16)

    stable = run.state("stable")["images"]
    assert call(place, "fast", "--images", 160, "--resume") == 0
    assert run.state()["images"] == stable + 160
    steps = [record["step"] for record in run.metrics() if "loss" in record]
    assert steps == sorted(set(steps))


def test_a_run_begins_with_packed_weights_and_their_projector(place: Path, tmp_path: Path) -> None:
    assert call(place, "first", "--images", 16) == 0
    last = place / "first" / "checkpoints" / "last"
    whole = {**load_file(last / "model.safetensors"), **load_file(last / "task.safetensors")}
    save_file(packed(whole), tmp_path / "kept.safetensors")
    assert (
        call(place, "second", "--images", 8, "--rate", "1e-9", "--start", tmp_path / "kept.safetensors") == 0
    )
    there = place / "second" / "checkpoints" / "last"
    went = {**load_file(there / "model.safetensors"), **load_file(there / "task.safetensors")}
    for name in ("stage4.0.0.weight", "losses.0.match.projector.weight"):
        assert torch.allclose(went[name], unpacked(packed(whole))[name], atol=1e-5)


def test_the_rate_falls_so_that_it_is_zero_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("accelerator_clock.time", SimpleNamespace(perf_counter=lambda: now[0]))
    options = Options(Path("r.toml"), Path("out"), seconds=100, since=0.0)
    clock = Clock(options, images=0, keeping=2.0)  # from 10 to 96 s, for the last checkpoint takes 4
    shares = []
    for now[0] in (20.0, 80.0, 96.0):
        shares.append(clock.progress(0))
        assert clock.left() == 96 - now[0]
    assert shares == pytest.approx([10 / 86, 70 / 86, 1])
    assert clock.share_of_step == pytest.approx(16 / 86)
    assert clock.to_save()
    assert [clock.falls(stable) for stable in (True, False, False)] == [False, True, False]


def test_a_run_without_time_to_train_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place, "late", "--seconds", 0.001) == 2
    assert "no time is left to train" in capsys.readouterr().err


def test_another_network_is_trained_on_the_same_recipe(place: Path) -> None:
    more = ["--network", "iresnet18", "--batch", "4", "--images", "4"]
    assert call(place, "large", *more) == 0
    net, card = read_saved(place / "large")
    assert (card.architecture, net.dim) == ("iresnet18()", 512)


def test_what_cannot_be_done_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = RECIPE.format(teacher="teacher.onnx", more="p_jpeg = 0.1")
    (place / "other.toml").write_text(text)
    assert main([str(place / "other.toml"), "--out", str(place / "x"), "--device", "cpu"]) == 2
    assert "Put its torch weights beside it" in capsys.readouterr().err
    (place / "other.toml").write_text(text.replace("teacher.onnx", "teacher"))
    assert main([str(place / "other.toml"), "--out", str(place / "x"), "--device", "cpu"]) == 2
    assert "p_jpeg not supported" in capsys.readouterr().err
    assert not (place / "x" / "recipe.toml").exists()


def test_shards_stay_short_and_hold_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packed_weights.LARGEST_SHARD", 200_000)
    net = build_model("plainres_small", dim=24)
    files = write_shards(net.state_dict(), tmp_path, 64, 1)
    assert len(files) > 1
    back = unpacked({k: v for file in files for k, v in load_file(file).items()})
    assert back.keys() == net.state_dict().keys()
    assert all(file.stat().st_size < 230_000 for file in files)


def test_it_runs_without_what_a_bare_python_lacks(place: Path) -> None:
    lacking = [
        "lightning_fabric",
        "lightning",
        "rich",
        "click",
        "platformdirs",
        "matplotlib",
        "jinja2",
        "sklearn",
    ]
    lacking += ["onnx", "mtcnn_runtime", "facenet_pytorch", "tensorboard", "onnxscript", "scipy"]
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({lacking!r}))\n"
        f"sys.argv = ['x', {str(place / 'fast.toml')!r}, '--out', {str(place / 'bare')!r}, '--device', "
        "'cpu', '--batch', '8', '--images', '8', '--processes', '1']\n"
        f"runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=place)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((place / "bare" / "checkpoints" / "last" / "state.json").read_text())["images"] == 8


def test_a_signal_leaves_a_checkpoint(place: Path) -> None:
    call = [sys.executable, TOOL, place / "fast.toml", "--out", place / "stopped", "--device", "cpu"]
    call += ["--batch", "8", "--precision", "float32", "--teacher-precision", "float32", "--processes", "1"]
    with subprocess.Popen([str(one) for one in call], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = [line for line in iter(process.stderr.readline, "") if _is_stopped(line, process)]
        assert process.wait(60) == 143
    assert "stopped: continue with --resume" in told[-1]
    assert RunFolder.open(place / "stopped").state()["images"] > 0


def _is_stopped(line: str, process: subprocess.Popen[str]) -> bool:
    """Send SIGTERM once steps are made; whether ``line`` says that it came."""
    if " a second, loss " in line:
        process.terminate()
    return line.startswith("stopped")


@pytest.mark.needs_faces
def test_torch_teachers_give_what_the_exported_ones_do(faces: Path) -> None:
    models = [faces / "models" / "edgeface_xs.onnx", faces / "models" / "edgeface_xxs.onnx"]
    teacher = OnlineTeacher(torch_specs([m.name for m in models], faces / "models"), torch.device("cpu"))
    crops = open_crops([faces / "train-labelled-1.zip"])
    pixels = np.stack([crops.read(i) for i in range(0, len(crops), len(crops) // 16)][:16])
    wanted = load_teacher([str(m) for m in models]).targets(pixels).embedding
    cosines = nn.functional.cosine_similarity(teacher.embed(torch.from_numpy(pixels)), wanted)
    assert float(cosines.min()) >= 0.9999
    # in lower precision each comes out near enough, or another is taken
    exact = teacher.embed(torch.from_numpy(pixels))
    teacher.precisions = ["fp16", "fp16"]
    told = teacher.settle_precision(torch.from_numpy(pixels))
    assert teacher.precisions[1] == "fp16", told
    assert teacher.precisions[0] in ("fp16", "bf16"), told
    assert float((teacher.embed(torch.from_numpy(pixels)) * exact).sum(1).mean()) >= 0.9995
