"""Who gets the processors: the network's threads, or the processes that decode its views."""

from __future__ import annotations

from facekd.models import torch_device

#: more than this many decode faster than any network here learns
_ENOUGH = 8


def share_processors(
    device: str, processors: int, threads: int | None, workers: int | None, decodes: bool = True
) -> tuple[int, int]:
    """Threads and workers (decoding processes) for training on ``device``, where not given.

    Threads that wait for each other lose more to a third process on two processors than decoding
    between the steps costs (350 against 440 images/s, 153 M multiply-adds, batch 64), so a CPU
    with fewer than four has no worker; beyond that a quarter decodes. Beside an accelerator
    nearly all do. A run that does not have to decode (``decodes`` false) leaves a CPU to its network.
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
