"""The run folder: what a run leaves on disk, and how it goes on after a kill.

``recipe.toml``, ``metrics.jsonl``, ``train.log``, ``card.json`` and ``checkpoints/step-N/``, each
checkpoint with ``model.safetensors`` (the student), ``task.safetensors`` (what else learns),
``optimizer.pt`` and ``state.json``. A checkpoint is written beside, synced and renamed; then the
links ``last`` and ``best`` are switched. A folder that is there is whole.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.files import write_atomically
from facekd.training.tensorboard_log import Board, open_board


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: ``state`` is JSON, the rest tensors."""

    model: dict[str, Tensor]
    task: dict[str, Tensor]
    optimizer: dict[str, Any]
    state: dict[str, Any]


class RunFolder:
    """One run on disk. With ``writes`` false nothing is: of several processes one alone writes."""

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self._writes = path, writes
        self._board: Board | None = None
        self.checkpoints = path / "checkpoints"

    @classmethod
    def create(cls, path: Path, force: bool = False) -> RunFolder:
        """A new run at ``path``; one that is there already is only replaced with ``force``."""
        if path.exists():
            if path.is_dir() and not any(path.iterdir()):
                pass
            elif not force:
                raise UsageError(
                    f"{path} exists already", "Go on with --resume, replace it with --force, or name another."
                )
            elif not (path / "recipe.toml").is_file():
                raise UsageError(f"{path} is not a run folder; it is not replaced")
            else:
                shutil.rmtree(path)
        run = cls(path)
        try:
            run.checkpoints.mkdir(parents=True)
        except OSError as error:
            raise InputOutput(f"{path}: {error.strerror}") from error
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at ``path``; `InputOutput` where there is none."""
        if not (path / "recipe.toml").is_file():
            raise InputOutput(f"{path} is not a run folder (it has no recipe.toml)")
        return cls(path)

    def discard(self) -> None:
        """Remove a run that has no checkpoint yet; one that has is kept."""
        if not any(self.checkpoints.glob("step-*")):
            shutil.rmtree(self.path, ignore_errors=True)

    def save(self, checkpoint: Checkpoint, best: bool, stable: bool = False) -> Path:
        """Write a checkpoint and switch ``last`` (and ``best``, and ``stable``: its rate had not begun to
        fall) to it; older ones are removed."""
        from safetensors.torch import save_file

        place = self.checkpoints / f"step-{checkpoint.state['step']}"
        beside = self.checkpoints / f".{place.name}.{os.getpid()}"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        save_file(_contiguous(checkpoint.model), beside / "model.safetensors")
        save_file(_contiguous(checkpoint.task), beside / "task.safetensors")
        torch.save(checkpoint.optimizer, beside / "optimizer.pt")
        (beside / "state.json").write_text(json.dumps(checkpoint.state, indent=1), encoding="utf-8")
        for file in beside.iterdir():
            _sync(file)
        _sync(beside)
        shutil.rmtree(place, ignore_errors=True)
        beside.rename(place)
        self._switch("last", place)
        if best:
            self._switch("best", place)
        if stable:
            self._switch("stable", place)
        _sync(self.checkpoints)
        self._prune()
        return place

    def load(self, which: str = "last") -> Checkpoint:
        """The checkpoint ``which`` ("last", "best" or "step-N")."""
        from safetensors.torch import load_file

        place = self.checkpoints / which
        if not place.is_dir():
            raise InputOutput(f"{self.path} has no checkpoint '{which}'")
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
        """The ``state`` of a checkpoint alone, empty where there is none."""
        file = self.checkpoints / which / "state.json"
        try:
            return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
        except ValueError as error:
            raise Unreadable(f"{file}: cannot be read ({error})") from error

    def has(self, which: str) -> bool:
        return (self.checkpoints / which).is_dir()

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``, and its numbers to the board if there is one."""
        if not self._writes:
            return
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board:
            self._board.add(record)

    def show_on_board(self) -> None:
        """From now on write for TensorBoard too, below ``tensorboard/``, where that is installed."""
        self._board = open_board(self.path / "tensorboard") if self._writes else None

    def flush(self) -> None:
        """Bring to disk what the board still holds."""
        if self._board:
            self._board.flush()

    def note(self, text: str) -> None:
        """Append a line with the time to ``train.log``."""
        if not self._writes:
            return
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with (self.path / "train.log").open("a", encoding="utf-8") as file:
            file.write(f"{now} {text}\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of ``metrics.jsonl``; one that a kill cut short is left out."""
        file = self.path / "metrics.jsonl"
        records = []
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def cut_metrics(self, step: int) -> None:
        """Drop what was logged after ``step``: a resumed run logs it again."""
        if not self._writes:
            return
        kept = [json.dumps(r) for r in self.metrics() if r.get("step", 0) <= step]
        write_atomically(self.path / "metrics.jsonl", ("\n".join(kept) + "\n" if kept else "").encode())

    def _switch(self, name: str, place: Path) -> None:
        link = self.checkpoints / f".{name}.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(place.name)
        link.replace(self.checkpoints / name)

    def _prune(self) -> None:
        kept = {(self.checkpoints / name).resolve() for name in ("last", "best", "stable") if self.has(name)}
        for place in self.checkpoints.glob("step-*"):
            if place.resolve() not in kept:
                shutil.rmtree(place, ignore_errors=True)


def load_weights(path: Path, which: str = "best") -> dict[str, Tensor]:
    """The student's weights from a run folder (its ``best`` checkpoint, else ``last``), from a
    checkpoint folder, or from a ``.safetensors`` file."""
    from safetensors.torch import load_file

    if path.is_file():
        file = path
    elif (path / "model.safetensors").is_file():
        file = path / "model.safetensors"
    else:
        run = RunFolder.open(path)
        file = run.checkpoints / (which if run.has(which) else "last") / "model.safetensors"
    if not file.is_file():
        raise InputOutput(f"{path}: no weights there (model.safetensors)")
    try:
        return load_file(file)
    except Exception as error:
        raise Unreadable(f"{file}: not a safetensors file ({error})") from error


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
