"""Chance by seed and step: what a step draws does not depend on the steps before it."""

from __future__ import annotations

import numpy as np
import torch


def seed_draws(seed: int, step: int, process: int) -> None:
    """Set torch's generators, the CPU's and every device's, for one step of one process.

    Mixed views, dropout and sampled classes then follow from the three alone, as the views do, so
    that a resumed run draws what the uninterrupted one would, in each of its processes.
    """
    mixed = np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)
    torch.manual_seed(int(mixed[0]))
