"""Build a recipe's networks and losses once on minimal input, before any data is loaded.

The constructor that takes a setting thus remains the only place that knows its valid values: a network
processes one black crop, a loss is built for four thousand classes of eight dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facekd.distillation.losses import Classes, Maps, Setting, loss_class
from facekd.errors import FacekdError
from facekd.models import Rehearsed, check_model, rehearse_model
from facekd.models.teachers import EXPORTED

_DIM, _CLASSES = 8, 4096
_SHAPE = (_DIM, 7, 7)


@dataclass(frozen=True)
class Networks:
    """The networks that losses are tried on: the student, the co-trained teacher (`None` if there is none
    or it cannot be built), the frozen teachers, and whether the student is ``started`` from another
    network's weights."""

    student: Rehearsed | None
    peer: Rehearsed | None
    models: Sequence[str]
    started: bool

    def for_loss(self, settings: Mapping[str, Any], teacher: int | None) -> Setting:
        """The setting of a loss with ``settings`` that uses one ``teacher`` (counted from 1) or all."""
        network = self.student.network if self.student else nn.Linear(_DIM, _DIM)
        weights = {name: p.detach() for name, p in network.named_parameters()} if self.started else {}
        return replace(
            _setting(),
            student_maps=self.student.maps if self.student else _made_up(settings.get("student")),
            teacher_maps=self._teacher_maps(settings.get("teacher"), teacher),
            network=network,
            started=weights,
            classifier=None if self._exported(teacher) else lambda: torch.ones(_CLASSES, _DIM),
        )

    def _teacher_maps(self, named: Any, teacher: int | None) -> Maps:
        if self.peer:
            return self.peer.maps
        # the maps of a frozen teacher are known only once it is loaded
        return {} if self._exported(teacher) else _made_up(named)

    def _exported(self, teacher: int | None) -> bool:
        """Whether all teachers used are files that output embeddings only."""
        heard = self.models if teacher is None else self.models[teacher - 1 : teacher]
        return bool(heard) and all(Path(spec).suffix in EXPORTED for spec in heard)


def try_network(whose: str, name: str, settings: Mapping[str, Any]) -> tuple[Rehearsed | None, list[str]]:
    """Build the network ``name``; return it, or what is wrong with it."""
    try:
        faults = check_model(name, settings)
        found = None if faults else rehearse_model(name, settings)
    except FacekdError as error:
        return None, [f"{whose}: {_one_line(error)}"]
    return found, [f"{whose}: {fault}" for fault in faults]


def try_loss(name: str, settings: Mapping[str, Any], setting: Setting) -> list[str]:
    """Everything that the loss ``name`` rejects in ``settings``, whose names and types are valid.

    A constructor reports one fault at a time: the setting it names is left out, and the loss is built again.
    """
    faults: list[str] = []
    fault = _refusal(name, settings, setting)
    while fault:
        without = {key: {k: v for k, v in settings.items() if k != key} for key in settings}
        after = {key: _refusal(name, rest, setting) for key, rest in without.items()}
        about = [key for key in settings if after[key] != fault]
        about.sort(key=lambda key: (settings[key] != "auto", after[key] is not None))
        if about and settings[about[0]] == "auto":
            break  # what fails on this made-up data may well work on the run's own
        faults.append(fault)
        if not about:
            break
        fault, settings = after[about[0]], without[about[0]]
    return faults


def learners_setting() -> Setting:
    """The setting of a loss that trains a co-trained teacher."""
    return _setting()


def _refusal(name: str, settings: Mapping[str, Any], setting: Setting) -> str | None:
    """Why the loss cannot be built with these settings; `None` if it can."""
    try:
        with torch.random.fork_rng(devices=[]):
            loss_class(name)(setting, **settings)
    except FacekdError as error:
        return _one_line(error)
    return None


def _setting() -> Setting:
    """Equal sizes, and a teacher that is certain about the crops of the first classes, so that a temperature
    between 0.01 and 1000 exists for nearly every mean probability and entropy."""
    labels = torch.arange(4)
    sample = torch.eye(_DIM)[labels]
    sums = torch.zeros(_CLASSES, _DIM)
    sums[labels] = 3 * sample
    of_label = torch.cat([torch.arange(_CLASSES), torch.tensor([-1])])
    classes = Classes(of_label, sums, torch.full((_CLASSES,), 3))
    return Setting(_DIM, _DIM, classes, sample, sample_labels=labels)


def _made_up(named: Any) -> Maps:
    """Feature maps of a network that is not loaded yet, one of them with the name asked for."""
    return {name: _SHAPE for name in ("stage1", named) if isinstance(name, str)}


def _one_line(error: FacekdError) -> str:
    return str(error).replace("\n", ". ")
