"""A network's forward and backward pass through `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from facekd.errors import UsageError
from facekd.models import FaceNet, Outputs


def compiled_outputs() -> Callable[[FaceNet, Tensor, bool], Outputs]:
    """What stands for `FaceNet.outputs` in training: it compiles a network at its first call and again for
    views of another size. Parameters and state dict remain the network's own; elsewhere it runs as before.

    There are no feature maps: hooks are not called in a compiled network. Raises `UsageError` if the machine
    cannot compile, for want of a C++ compiler for example.
    """
    ready: dict[int, Any] = {}

    def outputs(network: FaceNet, planes: Tensor, features: bool = False) -> Outputs:
        if features:
            raise ValueError("a compiled network has no feature maps")
        run = ready.get(id(network))
        if run is None:
            run = ready[id(network)] = torch.compile(network, dynamic=False)
        try:
            return Outputs(run(planes))
        except torch._dynamo.exc.TorchDynamoException as error:
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UsageError(
                f"schedule.compile: this network cannot be compiled here: {told}",
                "On a CPU torch.compile needs a C++ compiler, for example g++. Without compile the run is "
                "the same, and slower.",
            ) from error

    return outputs
