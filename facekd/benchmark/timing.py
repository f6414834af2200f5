"""Time models side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from facekd.runtime import load_embedder, threads_available

#: crops embedded at once for throughput
BATCH = 32


#: the most seconds that the rounds of one setting may take before their number is reduced
BUDGET = 8.0


MOST_ROUNDS, LEAST_ROUNDS = 20, 5


#: calls of one model in one round of a latency measurement
LEAST_REPEATS, MOST_REPEATS = 5, 30


#: seconds that these calls should fill
BURST = 0.05


@dataclass(frozen=True)
class Setting:
    """How models are run: ``threads`` of ONNX Runtime, ``batch`` crops per call."""

    threads: int
    batch: int

    def told(self, device: str) -> str:
        """In words: "one crop, 2 threads"; threads matter on the CPU only."""
        crops = "one crop" if self.batch == 1 else f"{self.batch} crops at once"
        if device != "cpu":
            return f"{crops}, {device}"
        return f"{crops}, one thread" if self.threads == 1 else f"{crops}, {self.threads} threads"


@dataclass(frozen=True)
class Timing:
    """Seconds of every timed call, [rounds, repeats]."""

    setting: Setting
    seconds: NDArray[np.float64] = field(repr=False)

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def p95(self) -> float:
        return float(np.quantile(self.seconds, 0.95))

    @property
    def crops_per_second(self) -> float:
        return self.setting.batch / self.median


@dataclass(frozen=True)
class SpeedRatio:
    """How many times faster one model is than another: the median over the rounds, and the range
    of their middle nine tenths."""

    median: float
    low: float
    high: float


def interleave(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    repeats: Mapping[str, int],
    clock: Callable[[], float] = perf_counter,
    after_round: Callable[[int], object] = lambda turn: None,
) -> dict[str, NDArray[np.float64]]:
    """Time every run in every round: seconds [rounds, repeats[name]] by name.

    In a round each model has a burst of calls, and the first of them is not timed
    (the caches are full of the previous model's data). Round r begins with model r;
    ``after_round`` is called with r at its end, while nothing is timed.
    """
    names = list(runs)
    seconds = {name: np.empty((rounds, repeats[name])) for name in names}
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            run = runs[name]
            run()
            for repeat in range(repeats[name]):
                begun = clock()
                run()
                seconds[name][turn, repeat] = clock() - begun
        after_round(turn)
    return seconds


def faster(slow: Timing, fast: Timing) -> SpeedRatio:
    """How many times faster ``fast`` is than ``slow``, from two timings with the same rounds."""
    ratios = np.median(slow.seconds, axis=1) / np.median(fast.seconds, axis=1)
    low, middle, high = np.quantile(ratios, [0.05, 0.5, 0.95])
    return SpeedRatio(float(middle), float(low), float(high))


def settings_for(device: str) -> list[Setting]:
    """One crop and `BATCH` crops, on one thread and on all; on other devices threads do not matter."""
    most = threads_available()
    threads = sorted({1, most}) if device == "cpu" else [most]
    return [Setting(t, batch) for batch in (1, BATCH) for t in threads]


def time_models(
    models: Mapping[str, Path],
    crops: Mapping[str, NDArray[np.uint8]],
    setting: Setting,
    device: str = "cpu",
    advance: Callable[[int], object] = lambda done: None,
) -> dict[str, Timing]:
    """Time `Embedder.embed` of every model under ``setting``.

    ``crops`` are uint8 [N, S, S, 3] by the model's name, at least ``setting.batch`` of them, of the
    model's size. The time is from the aligned crop to the unit embedding: scaling the pixels, the network,
    the norm; without decoding and detection. ``advance`` receives each step of progress, in `MOST_ROUNDS`
    parts for any number of rounds. Raises the errors of `load_embedder`.
    """
    runs: dict[str, Callable[[], object]] = {}
    for name, path in models.items():
        embedder = load_embedder(path, device, setting.threads)
        batch = crops[name][: setting.batch]
        runs[name] = lambda embedder=embedder, batch=batch: embedder.embed(batch)  # type: ignore[misc]
    estimates = {name: _warm_up(run) for name, run in runs.items()}
    rounds, repeats = plan(estimates, setting.batch == 1)

    def tell(turn: int) -> None:
        advance(MOST_ROUNDS * (turn + 1) // rounds - MOST_ROUNDS * turn // rounds)

    seconds = interleave(runs, rounds, repeats, after_round=tell)
    return {name: Timing(setting, seconds[name]) for name in runs}


def plan(estimates: Mapping[str, float], latency: bool) -> tuple[int, dict[str, int]]:
    """Rounds, and calls of each model in a round, for models that take ``estimates`` seconds."""
    repeats = {
        name: int(np.clip(BURST / seconds, LEAST_REPEATS, MOST_REPEATS)) if latency else 1
        for name, seconds in estimates.items()
    }
    a_round = sum(seconds * (repeats[name] + 1) for name, seconds in estimates.items())
    return int(np.clip(BUDGET / a_round, LEAST_ROUNDS, MOST_ROUNDS)), repeats


def _warm_up(run: Callable[[], object], calls: int = 3) -> float:
    """Run until memory is allocated and caches are warm; the fastest call estimates the others."""
    seconds = []
    for _ in range(calls):
        begun = perf_counter()
        run()
        seconds.append(perf_counter() - begun)
    return max(min(seconds), 1e-6)
