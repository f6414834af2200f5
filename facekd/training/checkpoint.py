"""Checkpoints, from which a run resumes after it was killed.

A checkpoint is a folder ``step-N`` with ``model.safetensors`` (the student), ``task.safetensors`` (all other
trained parameters), ``optimizer.pt`` and ``state.json``. It is written under another name, synced, renamed;
then the links ``last`` and ``best`` are switched to it. A folder that exists is therefore complete.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facekd.errors import InputOutput, Unreadable

#: the errors of a file system that is full, or whose quota is used up
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: the key of ``state.json`` for the score on held-out people
SCORE = "heldout_tar_1e-3"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to resume: ``state`` is JSON, the rest tensors."""

    model: dict[str, Tensor]
    task: dict[str, Tensor]
    optimizer: dict[str, Any]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints below ``folder``, with the links ``last``, ``best`` and ``stable``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, checkpoint: Checkpoint, best: bool, stable: bool = False) -> Path:
        """Write a checkpoint and switch ``last`` (and ``best``, and ``stable``: the learning rate had not
        begun to fall) to it; older checkpoints are removed.

        Raises `InputOutput` if it cannot be written; the earlier checkpoints are then unchanged.
        """
        place = self.folder / f"step-{checkpoint.state['step']}"
        beside = self.folder / f".{place.name}.new"
        with _disk_named(self.folder):
            try:
                _write(checkpoint, beside)
            except BaseException:
                shutil.rmtree(beside, ignore_errors=True)
                raise
            self._put(beside, place)
            for name, wanted in (("last", True), ("best", best), ("stable", stable)):
                if wanted:
                    self._switch(name, place)
            _sync(self.folder)
        self._prune()
        return place

    def load(self, which: str = "last") -> Checkpoint:
        """The checkpoint ``which`` ("last", "best" or "step-N")."""
        from safetensors.torch import load_file

        place = self.folder / which
        if not place.is_dir():
            raise InputOutput(f"{self.folder.parent} has no checkpoint '{which}'")
        try:
            return Checkpoint(
                load_file(place / "model.safetensors"),
                load_file(place / "task.safetensors"),
                torch.load(place / "optimizer.pt", weights_only=True),
                json.loads((place / "state.json").read_text(encoding="utf-8")),
            )
        except Exception as error:
            raise Unreadable(f"{place}: cannot be read ({error})") from error

    def state(self, which: str = "last") -> dict[str, Any]:
        """The ``state`` of a checkpoint alone; empty if there is no such checkpoint."""
        file = self.folder / which / "state.json"
        try:
            return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
        except ValueError as error:
            raise Unreadable(f"{file}: cannot be read ({error})") from error

    def has(self, which: str) -> bool:
        return (self.folder / which).is_dir()

    def repair(self) -> None:
        """Finish or undo what a kill interrupted: half-written checkpoints are removed, one that was being
        replaced is restored, and ``best`` becomes the better of the two that the links name."""
        for aside in self.folder.glob(".step-*.old"):
            place = self.folder / aside.name[1:].removesuffix(".old")
            if place.exists():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.rename(place)
        # the names in version 0.1.0 end in a process id
        for left in [p for name in ("step-", "last.", "best.") for p in self.folder.glob(f".{name}*")]:
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        if self.has("last") and (not self.has("best") or self._last_is_better()):
            self._switch("best", (self.folder / "last").resolve())

    def _last_is_better(self) -> bool:
        """Whether the run was killed after ``last`` was switched and before ``best`` was."""
        last, best = (self.state(which).get(SCORE) for which in ("last", "best"))
        return last is not None and best is not None and last > best

    def _put(self, beside: Path, place: Path) -> None:
        """Rename ``beside`` to ``place``. A checkpoint of the same step is moved aside first: `repair`
        restores it if the process is killed in between."""
        aside = self.folder / f".{place.name}.old"
        shutil.rmtree(aside, ignore_errors=True)
        if place.exists():
            place.rename(aside)
        beside.rename(place)
        shutil.rmtree(aside, ignore_errors=True)

    def _switch(self, name: str, place: Path) -> None:
        link = self.folder / f".{name}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(place.name)
        link.replace(self.folder / name)

    def _prune(self) -> None:
        kept = {(self.folder / name).resolve() for name in ("last", "best", "stable") if self.has(name)}
        for place in self.folder.glob("step-*"):
            if place.resolve() not in kept:
                shutil.rmtree(place, ignore_errors=True)


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    from safetensors.torch import save_file

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(_contiguous(checkpoint.model), folder / "model.safetensors")
    save_file(_contiguous(checkpoint.task), folder / "task.safetensors")
    torch.save(checkpoint.optimizer, folder / "optimizer.pt")
    (folder / "state.json").write_text(json.dumps(checkpoint.state, indent=1), encoding="utf-8")
    for file in folder.iterdir():
        _sync(file)
    _sync(folder)


@contextlib.contextmanager
def _disk_named(folder: Path) -> Iterator[None]:
    """Raise errors while a checkpoint is written as `InputOutput`. Neither safetensors nor torch raises an
    `OSError`, so a full disk is recognised by the error's text or by the free space."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        raise _not_written(folder, full, error.strerror or str(error)) from error
    except Exception as error:
        full = "No space left" in str(error) or shutil.disk_usage(folder).free < 1 << 20
        raise _not_written(folder, full, str(error).partition("\n")[0]) from error


def _not_written(folder: Path, full: bool, cause: str) -> InputOutput:
    if full:
        return InputOutput(
            f"{folder}: the disk is full; the last checkpoint is unchanged",
            "Free some space, then continue with --resume.",
        )
    return InputOutput(f"{folder}: the checkpoint cannot be written ({cause})", "Continue with --resume.")


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
