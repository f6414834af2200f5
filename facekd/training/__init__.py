"""The one training loop, its checkpoints and its data. It knows nothing of methods."""

from facekd.training.augment import Augmentation
from facekd.training.checkpoint import RunFolder, load_weights
from facekd.training.loop import Diverged, Judge, Plan, Progress, StepResult, Task, fit
from facekd.training.mixing import Mixing
from facekd.training.precision import Choice, Precision, choose_precision
from facekd.training.processes import (
    first_decides,
    gathered,
    make_fabric,
    processes,
    rank,
    seen_by_all,
    started_processes,
    wait_for_all,
)
from facekd.training.processors import share_processors

__all__ = [
    "Augmentation",
    "Choice",
    "Diverged",
    "Judge",
    "Mixing",
    "Plan",
    "Precision",
    "Progress",
    "RunFolder",
    "StepResult",
    "Task",
    "choose_precision",
    "first_decides",
    "fit",
    "gathered",
    "load_weights",
    "make_fabric",
    "processes",
    "rank",
    "seen_by_all",
    "share_processors",
    "started_processes",
    "wait_for_all",
]
