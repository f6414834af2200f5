"""Metrics for TensorBoard, if it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


class Board:
    """Writes the numbers of a run to ``folder``; numbers of a table within a record are named
    ``table/name``."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def add(self, record: dict[str, Any]) -> None:
        """Add the numbers of a record that has a step; other records are skipped."""
        step = record.get("step")
        if step is None:
            return
        for name, value in record.items():
            parts = {f"{name}/{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
            for part, number in parts.items():
                if part != "step" and isinstance(number, int | float):
                    self._writer.add_scalar(part, number, step)

    def flush(self) -> None:
        self._writer.flush()


def open_board(folder: Path) -> Board | None:
    """A board that writes to ``folder``; `None` if TensorBoard is not installed."""
    return Board(folder) if importlib.util.find_spec("tensorboard") else None
