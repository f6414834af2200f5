"""The run folder: the files of a run on disk.

``recipe.toml``, ``metrics.jsonl``, ``train.log``, ``card.json`` and ``checkpoints/`` (see `checkpoint`).
The process that trains in it holds the lock ``.lock``, so only one can.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.files import write_atomically
from facekd.training.checkpoint import Checkpoint, Checkpoints
from facekd.training.tensorboard_log import Board, open_board

_LOCK = ".lock"
#: the prefix, in a checkpoint, of the names of parameters that losses train
_LEARNED = "losses."


class RunFolder:
    """One run on disk. With ``writes`` false nothing is written: of several processes only one writes."""

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self._writes = path, writes
        self._board: Board | None = None
        self.checkpoints = path / "checkpoints"
        self._saved = Checkpoints(self.checkpoints)

    @classmethod
    def create(cls, path: Path, force: bool = False) -> RunFolder:
        """A new run at ``path``; an existing one is only replaced with ``force``."""
        if path.exists() and not _is_empty(path):
            if not force:
                raise UsageError(
                    f"{path} exists already",
                    "Continue with --resume, replace it with --force, or name another.",
                )
            if not _is_run(path):
                raise UsageError(f"{path} is not a run folder and is not replaced")
            for inside in path.iterdir():
                if inside.is_dir() and not inside.is_symlink():
                    shutil.rmtree(inside)
                elif inside.name != _LOCK:
                    inside.unlink()
        run = cls(path)
        try:
            run.checkpoints.mkdir(parents=True)
        except OSError as error:
            raise InputOutput(f"{path}: {error.strerror}") from error
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at ``path``; raises `InputOutput` if there is none."""
        if not _is_run(path):
            raise InputOutput(f"{path} is not a run folder (it has no recipe.toml)")
        return cls(path)

    def discard(self) -> None:
        """Remove a run that has no checkpoint yet; a run with a checkpoint is kept."""
        if not any(self.checkpoints.glob("step-*")):
            shutil.rmtree(self.path, ignore_errors=True)

    def save(self, checkpoint: Checkpoint, best: bool, stable: bool = False) -> Path:
        """As `Checkpoints.save`."""
        return self._saved.save(checkpoint, best, stable)

    def load(self, which: str = "last") -> Checkpoint:
        """The checkpoint ``which`` ("last", "best" or "step-N")."""
        return self._saved.load(which)

    def state(self, which: str = "last") -> dict[str, Any]:
        """The ``state`` of a checkpoint alone; empty if there is no such checkpoint."""
        return self._saved.state(which)

    def has(self, which: str) -> bool:
        return self._saved.has(which)

    def repair(self) -> None:
        """As `Checkpoints.repair`: call it before a run is resumed."""
        self._saved.repair()

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``, and its numbers to TensorBoard if it is in use."""
        self._append("metrics.jsonl", json.dumps(record))
        if self._board:
            self._board.add(record)

    def show_on_board(self) -> None:
        """From now on also write for TensorBoard, below ``tensorboard/``, if it is installed."""
        self._board = open_board(self.path / "tensorboard") if self._writes else None

    def flush(self) -> None:
        """Write to disk what TensorBoard's writer still holds in memory."""
        if self._board:
            self._board.flush()

    def note(self, text: str) -> None:
        """Append a line with a time stamp to ``train.log``."""
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self._append("train.log", f"{now} {text}")

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of ``metrics.jsonl``, without a last line that a kill cut short."""
        file = self.path / "metrics.jsonl"
        records = []
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def cut_metrics(self, step: int) -> None:
        """Drop what was logged after ``step``, since a resumed run logs it again."""
        if not self._writes:
            return
        kept = [json.dumps(r) for r in self.metrics() if r.get("step", 0) <= step]
        write_atomically(self.path / "metrics.jsonl", ("\n".join(kept) + "\n" if kept else "").encode())

    def _append(self, name: str, line: str) -> None:
        if not self._writes:
            return
        try:
            with (self.path / name).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise InputOutput(
                f"{self.path / name}: cannot be written ({error.strerror or error})",
                "The last checkpoint is unchanged: continue with --resume.",
            ) from error


@contextlib.contextmanager
def locked_run(path: Path) -> Iterator[None]:
    """A context in which nobody else trains in the run folder ``path``, which is created if missing.

    Raises `UsageError` at once if somebody does. The lock of a killed process is released.
    A folder that is neither empty nor a run is left unchanged: `RunFolder` refuses it.
    """
    from filelock import FileLock, Timeout

    if path.exists() and not (path.is_dir() and (_is_empty(path) or _is_run(path))):
        yield
        return
    made = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / _LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"{path} is in use: another process trains in it",
            "Wait until that run has ended, or choose another folder with --run.",
        ) from error
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
        if made and _is_empty(path):
            with contextlib.suppress(OSError):
                (path / _LOCK).unlink(missing_ok=True)
                path.rmdir()


def load_weights(path: Path, which: str = "best") -> dict[str, Tensor]:
    """The student's weights from a run folder (its ``best`` checkpoint, else ``last``), from a
    checkpoint folder, or from a ``.safetensors`` file."""
    found = _tensors(_weights_of(path, which))
    return {name: tensor for name, tensor in found.items() if not name.startswith(_LEARNED)}


def load_learned(path: Path, which: str = "best") -> dict[str, Tensor]:
    """The parameters that the losses trained beside those weights, such as projectors (``losses.0.…``);
    empty if none were stored."""
    file = _weights_of(path, which)
    beside = file.parent / "task.safetensors"
    found = _tensors(beside if file.name == "model.safetensors" and beside.is_file() else file)
    return {name: tensor for name, tensor in found.items() if name.startswith(_LEARNED)}


def _weights_of(path: Path, which: str) -> Path:
    if path.is_file():
        return path
    if (path / "model.safetensors").is_file():
        return path / "model.safetensors"
    run = RunFolder.open(path)
    file = run.checkpoints / (which if run.has(which) else "last") / "model.safetensors"
    if not file.is_file():
        raise InputOutput(f"{path}: no weights in it (model.safetensors)")
    return file


def _tensors(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except Exception as error:
        raise Unreadable(f"{file}: not a safetensors file ({error})") from error


def _is_run(path: Path) -> bool:
    return (path / "recipe.toml").is_file()


def _is_empty(path: Path) -> bool:
    """Whether ``path`` is a folder that contains nothing, or only a lock."""
    return path.is_dir() and all(inside.name == _LOCK for inside in path.iterdir())
