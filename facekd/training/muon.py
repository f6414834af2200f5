"""Muon: momentum whose steps are orthogonal matrices.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the step is scaled
to the size of AdamW's as in Liu et al., "Muon is scalable for LLM training", 2025, equation 4, so
that both kinds of parameter share one learning rate. Written here because torch's own takes
matrices only, not convolutions, and timm's computes in bfloat16, which a CPU without such
hardware emulates at a tenth of the speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: of the quintic x -> a x + b x^3 + c x^5, whose iterates drive every singular value near 1
_QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Muon for parameters of two or more dimensions (a convolution is the matrix [outputs,
    inputs x height x width]), AdamW with betas 0.9 and 0.95 for the others, and for all of a group
    whose ``matrices`` is false: classifiers over thousands of identities are not hidden layers."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "matrices": True}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; ``closure`` is not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if parameter.ndim >= 2 and group["matrices"]:
                    self._matrix_step(parameter, group)
                else:
                    self._vector_step(parameter, group)

    def _matrix_step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum, gradient = state["momentum"], parameter.grad
        assert gradient is not None
        momentum.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"])  # Nesterov
        matrix = ahead.reshape(len(ahead), -1)
        update = orthogonal(matrix).reshape(parameter.shape)
        parameter.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(matrix.shape)))

    def _vector_step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["step"] += 1
        steps = state["step"].item()
        state["mean"].lerp_(gradient, 0.1)
        state["square"].lerp_(gradient.square(), 0.05)
        mean = state["mean"] / (1 - 0.9**steps)
        root = (state["square"] / (1 - 0.95**steps)).sqrt_().add_(1e-8)
        parameter.addcdiv_(mean, root, value=-group["lr"])


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest half-orthogonal matrix to ``matrix`` [R, C], about: a Newton-Schulz iteration
    leaves its singular vectors and brings its singular values to between 0.7 and 1.2.

    All factors are polynomials of the Gram matrix, so they commute: the iteration runs on that
    square alone, and the long side is multiplied twice instead of ten times.
    """
    a, b, c = _QUINTIC
    x = matrix.float()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    factors = None
    for step in range(steps):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        factors = factor if factors is None else factor @ factors
        if step < steps - 1:
            gram = factor @ gram @ factor
    x = x if factors is None else factors @ x
    return (x if wide else x.T).to(matrix.dtype)
