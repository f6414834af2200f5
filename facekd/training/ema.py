"""The running mean of a network's weights, which is often more accurate than the last weights.

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control and
Optimization 1992; exponential, as in Tarvainen and Valpola, "Mean teachers are better role
models", NeurIPS 2017.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def running_mean(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``network`` that `AveragedModel.update_parameters` moves towards it by ``1 - decay``, or by
    more in the first steps (at step n the decay is at most n / (n + 9)), so that the random start soon
    has no weight. Batch-norm statistics are averaged like weights."""

    def move(averages: list[Tensor], values: list[Tensor], behind: Tensor | int) -> None:
        share = 1 - min(decay, float(behind) / (float(behind) + 9))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, share)
            else:
                average.copy_(value)

    mean = AveragedModel(network, multi_avg_fn=move, use_buffers=True)  # type: ignore[arg-type]
    return mean.eval().requires_grad_(False)
