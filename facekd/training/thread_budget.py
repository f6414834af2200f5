"""Divide the processors between the network's threads and the processes that decode its views."""

from __future__ import annotations

from facekd.models import torch_device

#: more decoding processes than this produce views faster than any network here trains
_ENOUGH = 8


def share_processors(
    device: str, processors: int, threads: int | None, workers: int | None, decodes: bool = True
) -> tuple[int, int]:
    """Threads and workers (decoding processes) for training on ``device``, unless given.

    On two processors, a third process costs more through threads that wait for each other than decoding
    between the steps (350 against 440 images/s, 153 M multiply-adds, batch 64), so a CPU
    with fewer than four processors has no worker; with more, a quarter decode. Beside an accelerator
    nearly all do. A run that need not decode (``decodes`` false) uses all processors for its network.
    """
    if torch_device(device).type != "cpu":
        spare = min(_ENOUGH, max(1, processors - 1))
    elif not decodes:
        spare = 0
    elif threads is None:
        spare = min(_ENOUGH, processors // 4)
    else:
        spare = min(_ENOUGH, max(0, processors - threads))
    workers = spare if workers is None else workers
    if threads is None:
        threads = max(1, processors - workers) if processors >= 4 else processors
    return threads, workers
