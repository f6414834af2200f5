"""The base class of losses, their inputs, and the registry that finds them by name.

A loss is a module in a file of its own in this folder. It is built with a `Setting` (what is
known before the first step) and its own settings from the recipe, and returns named scalars; the
loop sums them and never looks inside.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from facekd.errors import RecipeError
from facekd.models import Outputs, Targets
from facekd.registry import Registry
from facekd.settings import annotated, wrong_settings

Terms = Mapping[str, Tensor]
Maps = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Classes:
    """The identities that a run uses as classes.

    ``of_label`` int64 [labels + 1] maps a label to its class or -1 (its last entry is for label
    -1). ``sums`` float32 [C, D] are the sums of the teacher's unit embeddings of each class, empty
    without a teacher. ``sizes`` int64 [C] are the crops of each class, ``names`` [C] its identity.
    """

    of_label: Tensor
    sums: Tensor
    sizes: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    names: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return int(self.of_label.max().item()) + 1 if len(self.of_label) else 0


@dataclass(frozen=True)
class Setting:
    """What a loss knows when it is built: sizes, classes, and the teacher's PCA on demand."""

    student_dim: int
    teacher_dim: int
    classes: Classes
    #: teacher embeddings of view 0 of some crops, for statistics such as PCA, float32 [M, D]
    sample: Tensor
    #: shapes (C, H, W) of the feature maps by name; empty unless a loss needs them
    student_maps: Maps = field(default_factory=dict)
    teacher_maps: Maps = field(default_factory=dict)
    #: the labels of the sample's crops, int64 [M]; -1: unlabelled
    sample_labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    #: the student, and by the student's own names the tensors taken from another network for its start,
    #: unscaled, whatever share of them the start uses
    network: nn.Module | None = None
    started: Mapping[str, Tensor] = field(default_factory=dict)
    #: each sample crop's own contribution to its class's sum, float32 [M, D]; `None`: its row
    sample_own: Tensor | None = None
    #: returns the current rows [C, D] of the teacher's own classifier; `None` if it has none
    classifier: Callable[[], Tensor] | None = None


@dataclass(frozen=True)
class Example:
    """The rest of a batch beside its pixels: ``labels`` int64 [N] (-1: unlabelled) and ``own`` float32
    [N, D], each crop's contribution to its class's sum (view 0), for leaving it out."""

    labels: Tensor
    own: Tensor


class Loss(nn.Module, ABC):
    """``forward`` returns named scalars. ``needs_teacher``, ``needs_labels``, ``needs_means`` (class
    means of a frozen teacher) and ``needs_features`` (feature maps of both networks) let a recipe
    be checked before anything is loaded.

    ``whole_batch``, which every registered loss sets in its own body, says that with several processes the
    loss needs the rows of all of them. Only a loss that is a plain mean over all its rows may be computed
    on each process's own rows."""

    needs_teacher: bool = True
    needs_labels: bool = False
    needs_means: bool = False
    needs_features: bool = False
    whole_batch: ClassVar[bool]

    @abstractmethod
    def forward(
        self, student: Outputs, teacher: Targets | None, example: Example, progress: float
    ) -> Terms: ...


_LOSSES: Registry[type[Loss]] = Registry("loss", "facekd.distillation.losses", "facekd.losses", RecipeError)
loss_names = _LOSSES.names


def register_loss(name: str) -> Callable[[type[Loss]], type[Loss]]:
    """A decorator that makes a loss available to recipes as ``name``. A class that does not set
    ``whole_batch`` itself is refused: a default would make runs of several processes silently wrong."""

    def keep(loss: type[Loss]) -> type[Loss]:
        if "whole_batch" not in vars(loss):
            raise TypeError(f"{loss.__name__} does not state whole_batch (see Loss)")
        return _LOSSES.register(name)(loss)

    return keep


def loss_class(name: str) -> type[Loss]:
    """The class registered as ``name``; `RecipeError` names the known ones."""
    return _LOSSES[name]


def check_settings(name: str, settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names and types of a loss's settings, one sentence each."""
    return list(unfit_settings(name, settings).values())


def unfit_settings(name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that a loss does not have or that have the wrong type, each with a sentence about it."""
    return wrong_settings(f"loss '{name}'", loss_settings(name), settings)


def loss_settings(name: str) -> dict[str, Any]:
    """A loss's settings with their types; a loss that takes ``**others`` also has those of its base class."""
    loss = loss_class(name)
    known: dict[str, Any] = {}
    for kind in loss.__mro__:
        if "__init__" not in vars(kind):
            continue
        for key, wanted in annotated(vars(kind)["__init__"]).items():
            known.setdefault(key, wanted)
        parameters = inspect.signature(kind).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return {key: wanted for key, wanted in known.items() if key not in ("self", "setting")}


def unit(rows: Tensor) -> Tensor:
    """Rows [N, D] scaled to unit length, in float32 whatever the autocast."""
    return nn.functional.normalize(rows.float(), dim=1)


def zero_like(student: Outputs) -> Tensor:
    """A zero that keeps the graph connected, for a batch on which a loss has nothing to compute."""
    return student.embedding.float().sum() * 0.0


def classes_of(classes: Classes, labels: Tensor) -> Tensor:
    """Class numbers [N] of ``labels`` [N], -1 for none."""
    return classes.of_label.to(labels.device)[labels]


def pca_basis(sample: Tensor, dim: int) -> Tensor:
    """The first ``dim`` principal directions [D, dim] of unit rows, not centred: the subspace that
    keeps most of the rows' length, so that cosines change least."""
    _, vectors = torch.linalg.eigh(sample.double().T @ sample.double())
    return vectors.flip(1)[:, :dim].float()
