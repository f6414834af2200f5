"""One process or several: what `torchrun` started, and how the processes speak to each other.

Under ``torchrun`` every process runs the same program on its share of each batch. The first one
alone writes the run folder, makes the teacher's targets and judges.
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

#: how long the others may wait while the first process labels views or judges
_PATIENCE = datetime.timedelta(days=7)


def started_processes() -> tuple[int, int]:
    """How many processes `torchrun` started, over all nodes and on this one; (1, 1) without it."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def make_fabric(device: str) -> Any:
    """A launched `lightning_fabric.Fabric` on ``device``, for as many processes as there are.

    Several are joined by gloo on the CPU and by NCCL on CUDA devices, one device each. It computes
    in float32: the loop opens bf16's autocast itself.
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
        raise UsageError(f"--device {device}: several processes share the devices out themselves")
    strategy = DDPStrategy(
        process_group_backend="nccl" if place.type == "cuda" else "gloo",
        timeout=_PATIENCE,
        # a loss may rest for a part of the run, and the state of losses is the same everywhere
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
    """Return when every process has come here: one that ends early would tear the others down."""
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
    """What ``ask`` gives in the first process, in all of them; the others do not call it.

    An error of the first process is raised in all.
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
    """Raise `InputOutput`, in every process, where ``look`` at ``what`` on disk gives one of them
    another answer than the first."""
    if not _joined():
        return
    found: list[Any] = [None] * processes()
    torch.distributed.all_gather_object(found, (socket.gethostname(), look()))
    for number, (host, seen) in enumerate(found):
        if seen != found[0][1]:
            raise InputOutput(
                f"process {number}, on {host}, does not see {what} as the first process left it",
                "Several nodes need one disk, which all of them see under the same path.",
            )


def gathered(rows: Tensor) -> Tensor:
    """``rows`` [N, ...] of all processes, in their order, [processes x N, ...].

    Where ``rows`` have a gradient, each process gets back the sum of what all of them derive by
    its own: with the same loss of all rows everywhere, and gradients averaged over the processes
    as data-parallel training does, that is the gradient of that one loss.
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
