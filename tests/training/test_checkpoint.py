"""A checkpoint is there whole or not at all, and neither a kill nor a full disk takes the one before."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from facekd.errors import InputOutput
from facekd.training.checkpoint import Checkpoint, Checkpoints


def checkpoint(step: int, score: float | None = None, size: int = 4) -> Checkpoint:
    weights = {"weight": torch.full((size,), float(step))}
    return Checkpoint(weights, {}, {"optimizers": []}, {"step": step, "heldout_tar_1e-3": score})


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoints:
    found = Checkpoints(tmp_path / "checkpoints")
    found.save(checkpoint(4, 0.5), best=True)
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_last_checkpoint(small_disk: Path) -> None:
    found = Checkpoints(small_disk / "checkpoints")
    found.save(checkpoint(4, 0.5, size=50_000), best=True)
    (small_disk / "other").write_bytes(b"x" * 600_000)
    with pytest.raises(InputOutput, match=r"the disk is full; the last checkpoint is unchanged") as told:
        found.save(checkpoint(8, 0.6, size=100_000), best=True)
    assert "--resume" in (told.value.fix or "")
    assert {p.name for p in found.folder.iterdir()} == {"step-4", "last", "best"}
    for which in ("last", "best"):
        assert found.load(which).model["weight"][0] == 4
    (small_disk / "other").unlink()
    found.save(checkpoint(8, 0.6, size=50_000), best=True)
    assert found.load("best").model["weight"][0] == 8


@pytest.mark.parametrize("words", ["No space left on device (os error 28)", "unexpected pos 64 vs 0"])
def test_other_failures_leave_it_too(saved: Checkpoints, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(words)  # as torch and safetensors do

    monkeypatch.setattr("torch.save", fail)
    told = "the disk is full" if "space" in words else r"cannot be written \(unexpected pos"
    with pytest.raises(InputOutput, match=told):
        saved.save(checkpoint(8), best=True)
    assert {p.name for p in saved.folder.iterdir()} == {"step-4", "last", "best"}


def test_a_kill_between_the_links_does_not_lose_the_best(saved: Checkpoints, tmp_path: Path) -> None:
    """The newer checkpoint is the better one and `last` alone has been switched to it."""
    shutil.copytree(saved.folder / "step-4", tmp_path / "older")
    saved.save(checkpoint(8, 0.7), best=True)
    shutil.copytree(tmp_path / "older", saved.folder / "step-4")
    (saved.folder / "best").unlink()
    (saved.folder / "best").symlink_to("step-4")
    saved.repair()
    assert saved.state("best")["step"] == 8
    # a worse one does not become it, nor one that nobody judged
    for step, score in ((12, 0.6), (16, None)):
        saved.save(checkpoint(step, score), best=False)
        saved.repair()
        assert (saved.state("last")["step"], saved.state("best")["step"]) == (step, 8)


def test_a_kill_while_a_step_is_written_anew_brings_the_old_one_back(saved: Checkpoints) -> None:
    (saved.folder / "step-4").rename(saved.folder / ".step-4.old")
    assert not saved.has("last")
    saved.repair()
    assert saved.load("last").model["weight"][0] == 4
    saved.save(checkpoint(4, 0.6), best=True)
    assert saved.state("last")["heldout_tar_1e-3"] == 0.6
    assert {p.name for p in saved.folder.iterdir()} == {"step-4", "last", "best"}


def test_what_killed_saves_left_is_swept(saved: Checkpoints) -> None:
    for name in (".step-8.new", ".step-8.4711"):  # the second as version 0.1.0 named them
        shutil.copytree(saved.folder / "step-4", saved.folder / name)
    (saved.folder / ".last.new").symlink_to("step-8")
    (saved.folder / ".best.4711").symlink_to("step-4")
    saved.repair()
    assert {p.name for p in saved.folder.iterdir()} == {"step-4", "last", "best"}
