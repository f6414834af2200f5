"""One process or several, as started by `torchrun`, and how the processes communicate.

Under ``torchrun`` every process runs the same program on its share of each batch. Only the first
writes the run folder, computes the teacher's targets and evaluates.
"""

from __future__ import annotations

import atexit
import datetime
import os
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from facekd.errors import InputOutput, UsageError
from facekd.models import torch_device

T = TypeVar("T")

#: how long the others may wait while the first process computes targets or evaluates
_PATIENCE = datetime.timedelta(days=7)


def started_processes() -> tuple[int, int]:
    """How many processes `torchrun` started, over all nodes and on this one; (1, 1) without it."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def make_fabric(device: str) -> Any:
    """A launched `lightning_fabric.Fabric` on ``device``, for as many processes as there are.

    Several processes use gloo on the CPU and NCCL on CUDA devices, one device each. It computes
    in float32: the loop enables autocast to bf16 itself.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    place = torch_device(device)
    world, here = started_processes()
    if world == 1:
        devices: Any = [place.index or 0] if place.type == "cuda" else 1
        return Fabric(accelerator=place.type, devices=devices, precision="32-true")
    if place.index is not None:
        raise UsageError(f"--device {device}: several processes choose their devices themselves")
    strategy = DDPStrategy(
        process_group_backend="nccl" if place.type == "cuda" else "gloo",
        timeout=_PATIENCE,
        # a loss may be off for a part of the run, and the state of losses is the same in all processes
        find_unused_parameters=True,
        broadcast_buffers=False,
    )
    fabric = Fabric(
        accelerator=place.type, devices=here, num_nodes=world // here, strategy=strategy, precision="32-true"
    )
    fabric.launch()
    atexit.register(_part)
    return fabric


def wait_for_all() -> None:
    """Return when every process has reached this point: one that ends early would end the others."""
    if _joined():
        torch.distributed.barrier()


def _part() -> None:
    if _joined():
        torch.distributed.destroy_process_group()


def processes() -> int:
    """How many processes work on each batch."""
    return torch.distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """This process's number, from 0."""
    return torch.distributed.get_rank() if _joined() else 0


def first_decides(ask: Callable[[], T]) -> T:
    """The result of ``ask`` in the first process, returned in all; the others do not call it.

    An error in the first process is raised in all.
    """
    if not _joined():
        return ask()
    answer: list[Any] = [None, None]
    if rank() == 0:
        try:
            answer[0] = ask()
        except Exception as error:
            answer[1] = error
    torch.distributed.broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]  # type: ignore[no-any-return]


def seen_by_all(what: str, look: Callable[[], object]) -> None:
    """Raise `InputOutput`, in every process, if ``look`` at ``what`` on disk returns in one of them
    another result than in the first."""
    if not _joined():
        return
    found: list[Any] = [None] * processes()
    torch.distributed.all_gather_object(found, (socket.gethostname(), look()))
    for number, (host, seen) in enumerate(found):
        if seen != found[0][1]:
            raise InputOutput(
                f"process {number}, on {host}, does not see {what} as the first process left it",
                "Several nodes need one shared disk, under the same path.",
            )


def gathered(rows: Tensor) -> Tensor:
    """``rows`` [N, ...] of all processes, in their order, [processes x N, ...].

    If ``rows`` have a gradient, each process receives the sum of the gradients of all processes with
    respect to its own rows: with the same loss of all rows in every process, and gradients averaged over
    the processes as in data-parallel training, that is the gradient of that one loss.
    """
    return _Gathered.apply(rows) if _joined() else rows  # type: ignore[no-any-return]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.count = len(rows)
        found = [torch.empty_like(rows) for _ in range(processes())]
        torch.distributed.all_gather(found, rows.contiguous())
        return torch.cat(found)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        torch.distributed.all_reduce(total)
        start = rank() * context.count
        return total[start : start + context.count]


def _joined() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
