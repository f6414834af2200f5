"""The one training loop, its checkpoints and its data. It knows nothing of methods."""

from facekd.training.augment import Augmentation
from facekd.training.checkpoint import RunFolder, load_weights
from facekd.training.loop import Plan, Progress, StepResult, Task, fit

__all__ = ["Augmentation", "Plan", "Progress", "RunFolder", "StepResult", "Task", "fit", "load_weights"]
