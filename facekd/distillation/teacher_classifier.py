"""The classifier that a teacher was trained with, for the classes of another run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from facekd.errors import InputOutput, UsageError
from facekd.training import RunFolder

#: in a run folder, one line for each class: the identity of its row in the classifier
NAMES = "classes.txt"


def write_classes(run: RunFolder, names: Sequence[str]) -> None:
    """Write the identities of the classes to the run folder."""
    (run.path / NAMES).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def classifier_of(teacher: str, names: Sequence[str]) -> Tensor:
    """The rows [C, D] of identities ``names`` [C] in the classifier of ``teacher``, a run folder, at the
    checkpoint from which its weights are taken.

    Raises `UsageError` if it is not a run folder, was trained without a classifier, or lacks an identity.
    """
    folder = Path(teacher)
    if not (folder / "recipe.toml").is_file():
        raise UsageError(
            f"by = 'classifier': {teacher} is not a run folder, and only run folders contain a classifier",
            'Use by = "means": every teacher has class means.',
        )
    run = RunFolder.open(folder)
    weights = run.load("best" if run.has("best") else "last").task
    known = _known(folder / NAMES)
    found = [w for k, w in sorted(weights.items()) if k.startswith("losses.") and _is_classifier(w, known)]
    if not found:
        raise UsageError(
            f"by = 'classifier': {teacher} was trained without one", "Its losses compare embeddings."
        )
    place = {name: row for row, name in enumerate(known)}
    missing = [name for name in names if name not in place]
    if missing:
        raise UsageError(
            f"by = 'classifier': {len(missing)} of {len(names)} identities, for example {missing[0]}, are "
            f"not among the {len(known)} that {teacher} was trained on",
            'Use the data that it was trained on, or by = "means".',
        )
    return found[0][torch.tensor([place[name] for name in names])].float()


def _known(file: Path) -> list[str]:
    """The identities that a run recorded; none if its losses have no classes."""
    try:
        return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    except OSError as error:
        raise InputOutput(f"{file}: cannot be read ({error.strerror})") from error


def _is_classifier(weight: Tensor, known: Sequence[str]) -> bool:
    return weight.ndim == 2 and 0 < len(weight) == len(known) and weight.is_floating_point()
