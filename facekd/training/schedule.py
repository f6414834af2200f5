"""Learning rate and optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from facekd.training.muon import Muon

OptimizerName = Literal["muon", "adamw", "sgd"]
Shape = Literal["cosine", "linear", "quadratic", "wsd"]

#: the polynomials among the shapes
_POWERS = {"linear": 1, "quadratic": 2}


def rate_at(progress: float, warmup: float, shape: Shape, cooldown: float = 0.2, step: float = 0.0) -> float:
    """The share of the peak learning rate at ``progress`` in [0, 1]: a linear rise over the first
    ``warmup``, then a fall to zero along a half cosine or a power of the remaining share.

    ``step`` is a step's share of the run. A step of the warm-up uses the rate at its end,
    since at the beginning of the first step that would be zero.

    ``wsd`` (warmup, stable, decay: Hu et al., "MiniCPM", 2024; Hägele et al., "Scaling laws and
    compute-optimal training beyond fixed training durations", 2024) stays at the peak until the last
    ``cooldown``, over which it falls linearly to zero, so that a run can be extended.
    """
    if progress < warmup:
        return min(1.0, (progress + step) / warmup)
    if shape == "wsd":
        return min(1.0, (1 - progress) / cooldown)
    left = (1 - progress) / (1 - warmup) if warmup < 1 else 0.0
    return 0.5 * (1 - math.cos(math.pi * left)) if shape == "cosine" else left ** _POWERS[shape]


def make_optimizers(
    task: nn.Module, networks: Sequence[nn.Module], name: OptimizerName, rate: float, decay: float
) -> list[torch.optim.Optimizer]:
    """Muon with AdamW, AdamW, or SGD with Nesterov momentum 0.9, for all parameters of ``task``, of
    which ``networks`` are parts; biases and norms get no weight decay.

    Muon (Jordan et al., 2024) moves each weight matrix of ``networks`` by its orthogonalised
    momentum, with the step sizes of AdamW; convolutions count as matrices. Vectors, and all other
    parameters (classifiers, projectors), use AdamW with betas 0.9 and 0.95. Sparse
    embeddings (classifiers that are sampled at each step) have an Adam of their own, which
    updates only the rows of a step.
    """
    inside = {id(p) for net in networks for p in net.parameters()}
    rows = [m.weight for m in task.modules() if isinstance(m, nn.Embedding) and m.sparse]
    apart = {id(p) for p in rows}
    chosen = [p for p in task.parameters() if p.requires_grad and id(p) not in apart]
    hidden = [p for p in chosen if p.ndim > 1 and id(p) in inside]
    others = [p for p in chosen if p.ndim > 1 and id(p) not in inside]
    vectors = {"params": [p for p in chosen if p.ndim <= 1], "weight_decay": 0.0}
    made: list[torch.optim.Optimizer]
    if name == "muon":
        made = [Muon(hidden, lr=rate, weight_decay=decay)]
        left = [{"params": others, "weight_decay": decay}, vectors]
        left = [group for group in left if group["params"]]
        if left:
            made.append(torch.optim.AdamW(left, lr=rate, betas=(0.9, 0.95), fused=True))
    else:
        groups = [{"params": [*hidden, *others], "weight_decay": decay}, vectors]
        if name == "sgd":
            made = [torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)]
        else:
            made = [torch.optim.AdamW(groups, lr=rate, fused=True)]
    return [*made, torch.optim.SparseAdam(rows, lr=rate)] if rows else made
