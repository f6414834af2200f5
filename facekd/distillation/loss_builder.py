"""Build the losses that a recipe names, each with the data it may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from facekd.distillation.loss_inputs import TeacherMember
from facekd.distillation.losses import Maps, Setting, loss_class
from facekd.distillation.recipe import LossTable, Recipe
from facekd.distillation.teacher_classifier import classifier_of
from facekd.distillation.teacher_knowledge import TeacherKnowledge
from facekd.distillation.weighted_loss import WeightedLoss
from facekd.errors import UsageError
from facekd.models import FaceNet, Teacher, build_model, map_shapes


def co_trained_teacher(recipe: Recipe) -> FaceNet | None:
    """The co-trained teacher; `None` if there is none."""
    if recipe.teacher is None or recipe.teacher.network is None:
        return None
    return build_model(recipe.teacher.network, **recipe.teacher.settings)


def build_losses(
    recipe: Recipe,
    student: FaceNet,
    knowledge: TeacherKnowledge,
    started: Mapping[str, Tensor],
    peer: FaceNet | None,
    peer_losses: Sequence[WeightedLoss] = (),
) -> list[WeightedLoss]:
    """The recipe's losses, each built with the teacher, or teachers, that it uses."""
    teacher_dim = peer.dim if peer else knowledge.teacher.dim if knowledge.teacher else student.dim
    maps: tuple[Maps, Maps] = ({}, {})
    if any(loss_class(table.name).needs_features for table in recipe.loss):
        maps = _own_maps(student), _own_maps(peer) if peer else _teacher_maps(knowledge.teacher)
    setting = Setting(
        student.dim,
        teacher_dim,
        knowledge.classes,
        knowledge.sample,
        *maps,
        sample_labels=knowledge.sample_labels,
        network=student,
        started=started,
        classifier=_learning_classifier(peer_losses),
    )
    models = recipe.teacher.models if recipe.teacher else ()
    return [_weighted(table, setting, knowledge.dims, models) for table in recipe.loss]


def build_teacher_losses(recipe: Recipe, peer: FaceNet, knowledge: TeacherKnowledge) -> list[WeightedLoss]:
    """The losses that train a co-trained teacher."""
    assert recipe.teacher is not None
    setting = Setting(peer.dim, peer.dim, knowledge.classes, knowledge.sample)
    return [_weighted(table, setting, ()) for table in recipe.teacher.loss]


def _weighted(
    table: LossTable, setting: Setting, dims: tuple[int, ...], models: tuple[str, ...] = ()
) -> WeightedLoss:
    member = None
    if table.teacher is not None:
        start, dim = sum(dims[: table.teacher - 1]), dims[table.teacher - 1]
        member = TeacherMember(table.teacher, slice(start, start + dim))
        setting = setting_of_member(setting, member)
        models = models[table.teacher - 1 : table.teacher]
    if table.settings.get("by") == "classifier" and models:
        setting = replace(setting, classifier=_finished_classifier(models, setting))
    loss = loss_class(table.name)(setting, **table.settings)
    return WeightedLoss(loss, table.weight, table.final_weight, table.begin, table.end, member)


def _learning_classifier(peer_losses: Sequence[WeightedLoss]) -> Callable[[], Tensor] | None:
    """The current classifier of a co-trained teacher, as it is at each step."""
    weights = [getattr(part.loss, "weight", None) for part in peer_losses]
    found = next((weight for weight in weights if isinstance(weight, Tensor)), None)
    return None if found is None else lambda: found


def _finished_classifier(models: tuple[str, ...], setting: Setting) -> Callable[[], Tensor]:
    """The classifier of the one frozen teacher that a loss uses."""
    if len(models) > 1:
        raise UsageError("by = 'classifier': several teachers have no common one", "Choose one: teacher = 1.")
    rows = classifier_of(models[0], setting.classes.names)
    return lambda: rows


def setting_of_member(setting: Setting, member: TeacherMember) -> Setting:
    """The setting of a loss that uses one of several teachers."""
    columns = member.columns
    classes = setting.classes
    if classes.sums.numel():
        classes = replace(classes, sums=classes.sums[:, columns])
    return replace(
        setting,
        teacher_dim=columns.stop - columns.start,
        classes=classes,
        sample=torch.nn.functional.normalize(setting.sample[:, columns], dim=1),
        # its own contribution to the sums of the joined targets is shorter
        sample_own=setting.sample[:, columns],
        teacher_maps=member.maps(setting.teacher_maps),
    )


def _own_maps(network: FaceNet) -> Maps:
    """Shapes of the feature maps that one of facekd's networks outputs for a black crop."""
    size = network.input.size
    with torch.no_grad():
        found = network.eval().outputs(torch.zeros(1, 3, size, size), features=True).features
    network.train()
    return map_shapes(found)


def _teacher_maps(teacher: Teacher | None) -> Maps:
    return map_shapes(teacher.targets(np.zeros((1, 112, 112, 3), np.uint8)).features) if teacher else {}
