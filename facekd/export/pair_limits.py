"""Limit neighbouring weights so that no sum of two products overflows 16 bits (`facekd.runtime.pair_sums`).

Two weights of a channel must not add up to more than 128 steps. Where they do, either the channel gets larger
steps, or the two weights are cut; each channel has the step size with the smallest squared error of both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facekd.runtime import LARGEST_SUM, largest_sums, neighbouring_weights, sums_of_one_sign

#: steps to the largest weight
STEPS = 127
#: the sum in steps before rounding, which adds at most half a step to each of the two
_LIMIT = LARGEST_SUM - 0.5
#: the step sizes tried between the finest, which cuts the most, and the coarsest, which cuts nothing
_TRIED = 17


def finest_steps(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step sizes [O] with which the largest of the ``weights`` [O, ...] of a channel is 127 steps."""
    finest: NDArray[np.float64] = np.abs(weights).reshape(len(weights), -1).max(axis=1) / STEPS
    finest[finest == 0] = 1 / STEPS  # a channel that is switched off
    return finest


def cut_pairs(weights: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``weights`` [O, I] or [O, I, kH, kW] with the pairs cut that do not fit, and the step sizes [O]."""
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    finest = finest_steps(rows)
    coarsest = np.maximum(finest, largest_sums(weights.astype(np.float64)) / _LIMIT)
    pairs = neighbouring_weights(weights.shape[1:])
    best, steps, least = rows, coarsest, np.full(len(rows), np.inf)
    for part in np.linspace(1, 0, _TRIED):
        tried = finest + part * (coarsest - finest)
        cut = rows
        for way in pairs:
            cut = _cut(cut, way, tried * _LIMIT)
        # rounding to steps leaves an error that is uniform over a step
        error = ((cut - rows) ** 2).sum(axis=1) + rows.shape[1] * tried**2 / 12
        is_better = error < least
        best = np.where(is_better[:, None], cut, best)
        steps, least = np.where(is_better, tried, steps), np.where(is_better, error, least)
    return best.reshape(weights.shape), steps


def _cut(
    rows: NDArray[np.float64], pairs: NDArray[np.intp], most: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``rows`` [O, K], each pair of one sign reduced until it adds up to ``most`` [O], both by the same."""
    over = np.maximum(sums_of_one_sign(rows, pairs) - most[:, None], 0) / 2
    cut = rows.copy()
    for side in (0, 1):
        cut[:, pairs[:, side]] -= np.sign(rows[:, pairs[:, side]]) * over
    return cut
