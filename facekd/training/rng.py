"""Random numbers by seed and step: those of a step do not depend on the steps before it."""

from __future__ import annotations

import numpy as np
import torch


def seed_draws(seed: int, step: int, process: int) -> None:
    """Seed torch's generators, of the CPU and of every device, for one step of one process.

    Mixed views, dropout and sampled classes then depend on these three values only, as the views do, so
    that a resumed run draws the same numbers as an uninterrupted one, in each of its processes.
    """
    mixed = np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)
    torch.manual_seed(int(mixed[0]))
