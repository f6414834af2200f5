"""What the teacher says of every view: kept, mixed, gated, and clustered."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import TEACHER, losses_of, recipe, run
from tiny_model import write_tiny_model

from facekd.card.contract import InputSpec
from facekd.distillation.losses import Classes, Setting, loss_class
from facekd.distillation.run import training_crops
from facekd.distillation.target_cache import JoinedTargets, TargetCache, targets_of
from facekd.distillation.task import DistillTask, Gate, Part
from facekd.distillation.teacher_targets import Asking, _fill
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets
from facekd.models.teachers import load_teacher
from facekd.training import Augmentation
from facekd.training.data import Batch, View, keep_views, kept_views


def test_cached_targets_are_the_teachers_own_and_are_asked_for_once(place: Path) -> None:
    chosen = recipe(place)
    crops = training_crops(chosen)
    assert len(crops) == 16
    teacher = load_teacher(place / "teacher.onnx")
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)
    assert cache.missing(range(2)) == 32
    cache.fill(range(2), workers=0, batch=5)
    assert cache.missing(range(2)) == 0
    for number in range(2):
        rows = cache.rows(number, torch.tensor([15, 0, 7])).numpy()
        for row, crop in zip(rows, (15, 0, 7), strict=True):
            view = chosen.augmentation.view(crops.read(crop), (chosen.seed, crop, number))
            expected = teacher.targets(view[None]).embedding.numpy()[0]
            assert np.abs(row - expected).max() < 5e-4  # float16
    asked: list[int] = []
    again = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)
    again.fill(range(2), workers=0, tell=asked.append)
    assert not asked
    other = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed + 1)
    assert other.key != cache.key
    plain = [TargetCache(place / "cache", teacher, crops, Augmentation(), seed) for seed in (0, 1)]
    assert plain[0].key == plain[1].key
    crop = crops.read(3)
    for seed in (0, 1):
        np.testing.assert_array_equal(Augmentation().view(crop, (seed, 3, 0)), crop)


def test_a_fill_that_was_cut_short_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facekd.training.data.view_rows._BLOCK", 6)
    chosen = recipe(place)
    crops, teacher = training_crops(chosen), load_teacher(place / "teacher.onnx")
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)

    class Stop(Exception):
        pass

    def stop(done: int, seen: list[int] = []) -> None:  # noqa: B006
        seen.append(done)
        if sum(seen) >= 10:
            raise Stop

    with pytest.raises(Stop):
        cache.fill(range(1), workers=0, batch=4, tell=stop)
    assert 0 < cache.missing(range(1)) < 16
    cache.fill(range(1), workers=0, batch=4)
    whole = TargetCache(place / "other", teacher, crops, chosen.augmentation, chosen.seed)
    whole.fill(range(1), workers=0)
    everything = torch.arange(16)
    assert torch.allclose(cache.rows(0, everything), whole.rows(0, everything), atol=1e-3)


def test_two_runs_that_want_the_same_targets_label_them_once(place: Path) -> None:
    """The first is held up before it begins; the second waits, and asks its teacher nothing."""
    chosen = recipe(place)
    crops, teacher = training_crops(chosen), load_teacher(place / "teacher.onnx")
    begun, go_on, said = threading.Event(), threading.Event(), []

    def cache(name: str = "cache") -> TargetCache:
        return TargetCache(place / name, teacher, crops, chosen.augmentation, chosen.seed)

    def first() -> None:
        mine = cache()
        with mine.alone(lambda: pytest.fail("nobody else is there")):
            begun.set()
            assert go_on.wait(20)
            mine.fill(range(1), workers=0)

    def say(text: str) -> None:
        said.append(text)
        go_on.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first)
        assert begun.wait(20)
        asking = Asking(place / "cache", "cpu", 1, 0, say, lambda *_: pytest.fail("labelled twice"))
        _fill(cache(), range(1), asking)
        running.result()
    assert said == ["another run is labelling these views: waiting for it"]
    whole = cache("other")
    whole.fill(range(1), workers=0)
    assert torch.equal(cache().rows(0, torch.arange(16)), whole.rows(0, torch.arange(16)))


def test_a_run_that_keeps_its_views_takes_the_same_steps(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = losses_of(run(place, "made", recipe(place, TEACHER + "views = 2\n")))
    keeping = TEACHER + "views = 2\nkeep_views = true\n"
    assert losses_of(run(place, "kept", recipe(place, keeping))) == made
    # 16 crops and 96 images: two views of each
    assert "keeps 32 views, 0.0 GB (in" in (place / "kept" / "train.log").read_text()

    def fail(*_: object) -> None:
        pytest.fail("made again")

    monkeypatch.setattr(Augmentation, "view", fail)
    monkeypatch.setattr("facekd.models.teachers.onnx.OnnxTeacher.targets", fail)
    assert losses_of(run(place, "again", recipe(place, keeping))) == made
    assert "keeps" not in (place / "again" / "train.log").read_text()


def test_the_teacher_labels_views_as_they_are_kept(place: Path) -> None:
    """Targets of kept views that somebody changed are those of the changed ones."""
    chosen = recipe(place)
    crops, teacher = training_crops(chosen), load_teacher(place / "teacher.onnx")
    kept = kept_views(place / "cache", crops, chosen.augmentation, chosen.seed)
    keep_views(kept, range(1), crops, chosen.augmentation, chosen.seed)
    file = kept.folder / "view-0.npy"
    np.save(file, 255 - np.load(file))
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed, kept)
    cache.fill(range(1), workers=0)
    expected = teacher.targets(np.load(file)).embedding
    assert torch.allclose(cache.rows(0, torch.arange(16)), expected, atol=5e-4)


def test_only_views_that_come_again_are_kept(place: Path) -> None:
    for settings in ('targets = "online"\n', 'rule = "clean-view"\n'):
        with pytest.raises(RecipeError, match=r"teacher.keep_views: only views with targets of their own"):
            recipe(place, TEACHER + "keep_views = true\n" + settings)


def test_a_view_number_past_an_epochs_end_gets_its_own_target(place: Path) -> None:
    from facekd.distillation.teacher_targets import _cached
    from facekd.training.data import ViewLoader

    chosen = recipe(place)
    crops, teacher = training_crops(chosen), load_teacher(place / "teacher.onnx")
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)
    cache.fill(range(2), workers=0)
    views = [View(5, 0, False), View(5, 1, False)]
    batch = next(ViewLoader(crops, chosen.augmentation, chosen.seed, 2, 0).batches(views))
    found = _cached(cache, clean=False)(batch).embedding
    expected = teacher.targets(batch.views.numpy()).embedding
    assert torch.allclose(found, expected, atol=5e-4)
    assert not torch.allclose(found[0], found[1], atol=5e-4)


def test_mixed_views_are_shown_to_the_teacher_itself(place: Path) -> None:
    for kind in ("p_mixup", "p_cutmix", "p_cutpaste"):
        with pytest.raises(RecipeError, match="only the teacher itself knows a mixed view"):
            recipe(place, m=("[schedule]", f"[mixing]\n{kind} = 0.1\n[schedule]"))
    shares = "p_mixup = 0.4\np_cutmix = 0.2\np_cutpaste = 0.3"
    mixing = ("[schedule]", f"[mixing]\n{shares}\n[schedule]")
    chosen = recipe(place, TEACHER + 'targets = "online"\n', m=mixing)
    whole = run(place, "whole", chosen)
    run(place, "cut", chosen, stop_after=6)
    assert losses_of(run(place, "cut", chosen, resume=True)) == losses_of(whole)
    assert not chosen.without_teacher().mixing.active


def test_views_that_moved_too_far_teach_nothing(place: Path) -> None:
    far = ("shift = 2.0", "shift = 20.0\nrotate = 40.0")
    plain = '[[loss]]\nname = "cosine"\n'
    chosen = recipe(place, TEACHER + "views = 2\ngate = 0.3\n", plain, f=far)
    run(place, "run", chosen, stop_after=1)
    teacher, crops = load_teacher([str(place / "teacher.onnx")]), training_crops(chosen)
    unmoved = TargetCache(place / "cache", teacher, crops, Augmentation(), 3)
    assert unmoved.missing(range(1)) == 0  # the run asked what the teacher says of the crops themselves
    views = TargetCache(place / "cache", teacher, crops, chosen.augmentation, 3)
    views.fill(range(2), workers=0)
    everything = torch.arange(16)
    clean, moved = unmoved.rows(0, everything), views.rows(1, everything)
    least = float((clean * moved).sum(1).median())
    gate = Gate(least, lambda crops: clean[crops])
    kept = torch.nn.functional.cosine_similarity(clean, moved) >= least
    assert 0 < kept.sum() < 16  # otherwise the test shows nothing

    class Still(torch.nn.Module):
        input = InputSpec()

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(32))

        def outputs(self, planes: torch.Tensor, features: bool = False) -> Outputs:
            return Outputs(self.weight.expand(len(planes), 32))

    loss = loss_class("cosine")(Setting(32, 32, Classes(torch.tensor([-1]), torch.empty(0, 32)), moved))
    black = torch.zeros(16, 112, 112, 3, dtype=torch.uint8)
    nothing = torch.zeros(16, dtype=torch.int64)
    batch = Batch(black, everything, nothing + 1, nothing > 0, nothing - 1)
    task = DistillTask(Still(), [Part(loss)], lambda b: Targets(moved), gate=gate)
    direction = torch.ones(32) / 32**0.5
    expected = (1 - torch.nn.functional.normalize(moved[kept], dim=1) @ direction).mean()
    result = task.step(batch, 0.0)
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert torch.equal(result.embeddings, torch.ones(16, 32))  # of all views, shown to a loss or not
    assert not result.embeddings.requires_grad
    closed = DistillTask(Still(), [Part(loss)], lambda b: Targets(-clean), gate=gate)
    result = closed.step(batch, 0.0)
    result.loss.backward()
    assert closed.student.weight.grad.abs().sum() == 0
    assert {name: value.item() for name, value in result.terms.items()} == {"cosine": 0}


def test_a_gate_looks_at_the_crop_itself_from_the_first_epoch_on(place: Path) -> None:
    cosine = '[[loss]]\nname = "cosine"\n'

    def losses(gate: str, *changes: tuple[str, str]) -> list[float]:
        chosen = recipe(place, TEACHER + gate, cosine, **{str(k): change for k, change in enumerate(changes)})
        shutil.rmtree(place / "run", ignore_errors=True)
        return [loss for _, loss in losses_of(run(place, "run", chosen, stop_after=2))]

    far, near = ("shift = 2.0", "shift = 20.0\nrotate = 40.0"), ("shift = 2.0\ncolour = 0.2", "")
    for targets in ("", 'targets = "online"\n'):
        assert losses(targets + "gate = 0.9999\n", far) == [0]  # all held back
        assert losses(targets, far)[0] > 0
        unmoved = ("seed = 3", "seed = 3\nmirror = false")  # online a mirrored view has a target of its own
        assert losses(targets + "gate = 0.9999\n", near, unmoved) == losses(targets, near, unmoved) != [0]


def test_a_gate_that_leaves_too_little_leaves_losses_as_they_were() -> None:
    rows = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)))
    classes = Classes(torch.tensor([0, 1, -1]), rows[:2], torch.tensor([3, 3]))
    parts = [Part(loss_class(name)(Setting(8, 8, classes, rows))) for name in ("adadistill", "ekd", "rkd")]
    kept = torch.tensor([False, True, False, False, False, False])

    class Same(torch.nn.Module):
        input = InputSpec()

        def outputs(self, planes: torch.Tensor, features: bool = False) -> Outputs:
            return Outputs(rows.clone().requires_grad_())

    views = torch.zeros(6, 16, 16, 3, dtype=torch.uint8)
    zeros = torch.zeros(6, dtype=torch.int64)
    batch = Batch(views, torch.arange(6), zeros, zeros > 0, torch.arange(6) % 2)
    for left in (kept, kept & False):
        clean = torch.where(left[:, None], rows, -rows)
        gate = Gate(0.5, lambda crops, clean=clean: clean[crops])
        task = DistillTask(Same(), parts, lambda b: Targets(rows), lambda crops: rows[crops], gate=gate)
        result = task.step(batch, 0.0)
        assert list(result.terms) == ["adadistill", "ekd", "rkd_distance", "rkd_angle"]
        assert all(value.item() == 0 for value in result.terms.values())
        assert all(part.loss.training for part in parts)
        assert parts[0].loss.centres.abs().sum() == 0
        assert parts[1].loss.mine.isnan().all()
    gate = Gate(0.5, lambda crops: rows[crops])
    opened = DistillTask(Same(), parts, lambda b: Targets(rows), lambda crops: rows[crops], gate=gate)
    opened.step(batch, 0.0)
    assert parts[0].loss.centres.abs().sum() > 0
    assert not parts[1].loss.mine.isnan().any()


def test_clusters_of_unlabelled_crops_serve_logit_losses(place: Path) -> None:
    unlabelled = ('labelled = ["crops"]\nheldout = "heldout.txt"', 'unlabelled = ["crops"]')
    losses = '[[loss]]\nname = "prototypes"\n'
    with pytest.raises(RecipeError, match="needs labelled data"):
        recipe(place, losses=losses, u=unlabelled)
    pseudo = ("[schedule]", "[pseudo]\nclusters = 8\ngate = 0.2\n[schedule]")
    chosen = recipe(place, losses=losses, u=unlabelled, p=pseudo)
    found = losses_of(run(place, "run", chosen))
    assert found[-1][1] < found[0][1]
    assert "with clusters: 32 crops:" in (place / "run" / "train.log").read_text()
    assert chosen.model_copy(update={"data": recipe(place).data}).without_teacher().pseudo.clusters == 0


def test_joined_teachers_are_asked_and_kept_one_by_one(place: Path) -> None:
    """Whoever takes one alone finds its targets; together they say what they say when asked at once."""
    chosen = recipe(place)
    crops, files = training_crops(chosen), [place / "teacher.onnx", place / "other.onnx"]
    write_tiny_model(files[1], dim=16, seed=1)
    alone = targets_of(place / "cache", load_teacher(files[0]), crops, chosen.augmentation, chosen.seed)
    assert isinstance(alone, TargetCache)
    alone.fill(range(1), workers=0)
    both = load_teacher(files)
    joined = targets_of(place / "cache", both, crops, chosen.augmentation, chosen.seed)
    assert isinstance(joined, JoinedTargets)
    assert joined.parts[0].key == alone.key
    assert [part.missing(range(1)) for part in joined.parts] == [0, 16]
    joined.parts[1].fill(range(1), workers=0)
    rows = joined.rows(0, torch.tensor([3, 11]))
    views = np.stack([chosen.augmentation.view(crops.read(i), (chosen.seed, i, 0)) for i in (3, 11)])
    assert rows.shape == (2, joined.dim)
    assert torch.allclose(rows, both.targets(views).embedding, atol=1e-3)  # float16
    assert torch.allclose(rows.norm(dim=1), torch.ones(2), atol=1e-6)


def test_crops_as_they_are_are_kept_once_for_all_seeds(place: Path) -> None:
    crops = training_crops(recipe(place))
    one, other = (kept_views(place / "cache", crops, Augmentation(), seed) for seed in (0, 1))
    assert one.key == other.key
    moved = Augmentation(shift=1.0)
    one, other = (kept_views(place / "cache", crops, moved, seed) for seed in (0, 1))
    assert one.key != other.key
