"""What the teacher says of every view: kept, mixed, gated, and clustered."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import TEACHER, losses_of, recipe, run
from tiny_model import write_tiny_model

from facekd.distillation import training_crops
from facekd.distillation.target_cache import JoinedTargetCaches, TargetCache, open_target_cache
from facekd.distillation.teacher_query import TeacherQuery, cached_batch_targets, fill_missing
from facekd.errors import RecipeError, UsageError
from facekd.models import Targets
from facekd.models.teachers import load_teacher
from facekd.training import Augmentation
from facekd.training.data import View, keep_views, kept_views


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


def test_a_teacher_without_numbers_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = recipe(place)
    crops, teacher = training_crops(chosen), load_teacher(place / "teacher.onnx")
    well = teacher.targets

    def spoiled(views: np.ndarray) -> Targets:
        rows = well(views).embedding.clone()
        rows[2] = torch.nan
        return Targets(rows)

    monkeypatch.setattr(teacher, "targets", spoiled)
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)
    with pytest.raises(UsageError, match=r"not finite for 1 of 5 crops, for example crops/p0/2\.png"):
        cache.fill(range(1), workers=0, batch=5)
    assert cache.missing(range(1)) == 16


def test_a_fill_that_was_cut_short_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facekd.training.data.view_rows.BLOCK", 6)
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
        query = TeacherQuery(place / "cache", "cpu", 1, 0, say, lambda *_: pytest.fail("labelled twice"))
        fill_missing(cache(), range(1), query)
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
    assert "storing 32 views, 0.0 GB (in" in (place / "kept" / "train.log").read_text()

    def fail(*_: object) -> None:
        pytest.fail("made again")

    monkeypatch.setattr(Augmentation, "view", fail)
    monkeypatch.setattr("facekd.models.teachers.onnx.OnnxTeacher.targets", fail)
    assert losses_of(run(place, "again", recipe(place, keeping))) == made
    assert "storing" not in (place / "again" / "train.log").read_text()


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
    from facekd.training.data import ViewLoader

    chosen = recipe(place)
    crops, teacher = training_crops(chosen), load_teacher(place / "teacher.onnx")
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)
    cache.fill(range(2), workers=0)
    views = [View(5, 0, False), View(5, 1, False)]
    batch = next(ViewLoader(crops, chosen.augmentation, chosen.seed, 2, 0).batches(views))
    found = cached_batch_targets(cache, clean=False)(batch).embedding
    expected = teacher.targets(batch.views.numpy()).embedding
    assert torch.allclose(found, expected, atol=5e-4)
    assert not torch.allclose(found[0], found[1], atol=5e-4)


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
    """A run with one of them alone finds its targets; joined, they give the same targets as computed
    together."""
    chosen = recipe(place)
    crops, files = training_crops(chosen), [place / "teacher.onnx", place / "other.onnx"]
    write_tiny_model(files[1], dim=16, seed=1)
    alone = open_target_cache(
        place / "cache", load_teacher(files[0]), crops, chosen.augmentation, chosen.seed
    )
    assert isinstance(alone, TargetCache)
    alone.fill(range(1), workers=0)
    both = load_teacher(files)
    joined = open_target_cache(place / "cache", both, crops, chosen.augmentation, chosen.seed)
    assert isinstance(joined, JoinedTargetCaches)
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
