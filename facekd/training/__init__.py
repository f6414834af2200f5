"""The one training loop, its checkpoints and its data. It knows nothing of methods."""

from facekd.training.augment import Augmentation
from facekd.training.checkpoint import RunFolder, load_weights
from facekd.training.loop import Plan, Progress, StepResult, Task, fit
from facekd.training.mixing import Mixing
from facekd.training.precision import Choice, Precision, choose_precision
from facekd.training.processors import share_processors

__all__ = [
    "Augmentation",
    "Choice",
    "Mixing",
    "Plan",
    "Precision",
    "Progress",
    "RunFolder",
    "StepResult",
    "Task",
    "choose_precision",
    "fit",
    "load_weights",
    "share_processors",
]
