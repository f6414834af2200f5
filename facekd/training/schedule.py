"""Learning rate and optimizer."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn

from facekd.training.muon import Muon

OptimizerName = Literal["muon", "adamw", "sgd"]


def rate_at(progress: float, warmup: float, shape: Literal["cosine", "linear"]) -> float:
    """The share of the peak learning rate at ``progress`` in [0, 1]: a linear rise over the first
    ``warmup``, then a fall to zero."""
    if progress < warmup:
        return progress / warmup
    left = (1 - progress) / (1 - warmup) if warmup < 1 else 0.0
    return left if shape == "linear" else 0.5 * (1 - math.cos(math.pi * left))


def make_optimizer(
    task: nn.Module, network: nn.Module, name: OptimizerName, rate: float, decay: float
) -> torch.optim.Optimizer:
    """Muon, AdamW, or SGD with Nesterov momentum 0.9, for all of ``task``, of which ``network``
    is a part; biases and norms are not decayed.

    Muon (Jordan et al., 2024) moves each weight matrix of ``network`` by its orthogonalised
    momentum, with the step sizes of AdamW; convolutions count as matrices. Vectors, and what else
    ``task`` learns (classifiers, projectors), are left to AdamW.
    """
    inside = {id(p) for p in network.parameters()}
    chosen = [p for p in task.parameters() if p.requires_grad]
    hidden = [p for p in chosen if p.ndim > 1 and id(p) in inside]
    groups: list[dict[str, Any]] = [
        {"params": hidden, "weight_decay": decay},
        {"params": [p for p in chosen if p.ndim <= 1], "weight_decay": 0.0},
    ]
    others = [p for p in chosen if p.ndim > 1 and id(p) not in inside]
    if others:
        groups.append({"params": others, "weight_decay": decay})
        if name == "muon":
            groups[-1]["matrices"] = False
    if name == "muon":
        return Muon(groups, lr=rate)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate, fused=True)
