"""Muon: momentum with orthogonalised steps.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the step is scaled
to the size of AdamW's as in Liu et al., "Muon is scalable for LLM training", 2025, equation 4, so
that both kinds of parameters share one learning rate. Written here because torch's own supports
matrices only, not convolutions, and timm's computes in bfloat16, which a CPU without bf16
hardware emulates at a tenth of the speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

#: coefficients of the quintic x -> a x + b x^3 + c x^5, whose iterates move every singular value towards 1
_QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Muon for parameters of two or more dimensions; a convolution is the matrix [outputs, inputs x
    height x width]."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; ``closure`` is not used."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            ahead = [self._ahead(parameter, group["momentum"]) for parameter in moved]
            for parameter, update in zip(moved, orthogonal(ahead), strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                size = 0.2 * math.sqrt(max(update.shape))
                as_matrix(parameter).add_(update, alpha=-group["lr"] * size)

    def _ahead(self, parameter: Tensor, momentum: float) -> Tensor:
        """Nesterov's momentum as a matrix, in the memory order of the parameter, whatever the order of
        its gradient."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        behind: Tensor = state["momentum"]
        gradient = parameter.grad
        assert gradient is not None
        behind.lerp_(gradient, 1 - momentum)
        return as_matrix(behind.lerp(gradient, 1 - momentum))


def as_matrix(weight: Tensor) -> Tensor:
    """``weight`` [R, ...] as a matrix [R, C] that shares its memory, with the columns in memory order:
    orthogonalisation does not depend on the order of the columns."""
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        weight = weight.permute(0, 2, 3, 1)
    return weight.view(len(weight), -1)


def orthogonal(matrices: Sequence[Tensor], steps: int = 5) -> list[Tensor]:
    """Approximately the nearest semi-orthogonal matrix to each of ``matrices`` [R, C]: a Newton-Schulz
    iteration keeps the singular vectors and moves the singular values to between 0.7 and 1.2.

    All factors are polynomials of the Gram matrix, so they commute: the iteration runs on the Gram
    matrix alone, and the long side is multiplied twice instead of ten times. The Gram matrix needs
    float32: gradients have a few large singular values, next to which bf16 loses the small ones
    that the iteration enlarges (a short run ended at half the TAR).
    """
    found = []
    for matrix in matrices:
        x = matrix.float() if matrix.shape[0] <= matrix.shape[1] else matrix.float().T
        x = x / (x.norm() + 1e-7)
        x = (_factors(x @ x.T, steps) @ x).to(matrix.dtype)
        found.append(x if matrix.shape[0] <= matrix.shape[1] else x.T)
    return found


def _factors(gram: Tensor, steps: int) -> Tensor:
    """The matrix that the iteration multiplies a matrix with Gram matrix ``gram`` [R, R] by."""
    a, b, c = _QUINTIC
    factors: Tensor | None = None
    for step in range(steps):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        factors = factor if factors is None else factor @ factors
        if step < steps - 1:
            gram = factor @ gram @ factor
    return gram if factors is None else factors
