"""The measurements of one model in a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from facekd.benchmark.counts import ModelCounts
from facekd.benchmark.memory import Footprint
from facekd.benchmark.pair_accuracy import Rate, rates_of
from facekd.benchmark.timing import Setting, Timing
from facekd.card import Card
from facekd.verification.results import ACCURACY, Paired, PairResult, ShownPair


@dataclass(frozen=True)
class Gap:
    """The student's accuracy minus the teacher's on the same pairs, with failed pairs as errors, as shares.
    ``low`` and ``high`` are the 95 % interval by ``method``; `None` if the list does not say which
    pairs share a person."""

    difference: float
    low: float | None
    high: float | None
    pairs: int
    method: str | None = None

    @classmethod
    def of(cls, paired: Paired) -> Gap:
        """From the result of `compare_models` for a student and its teacher."""
        value = (paired.reference_errors - paired.other_errors) / paired.comparisons
        for found in paired.differences:
            if found.measure == ACCURACY:
                low, high, method = found.interval.low, found.interval.high, found.interval.method
                return cls(value, low, high, paired.comparisons, method)
        return cls(value, None, None, paired.comparisons)


@dataclass(frozen=True)
class BenchmarkedModel:
    """All measurements of one model; ``timings`` in the order of the benchmark's settings.

    If photos were given, ``result`` is the protocol's result, ``hardest`` are the comparisons with the
    largest errors, and ``gap`` is the difference from the teacher.
    """

    name: str
    role: Literal["teacher", "student"]
    card: Card
    has_card: bool
    counts: ModelCounts
    timings: tuple[Timing, ...]
    footprint: Footprint
    result: PairResult | None = None
    hardest: tuple[ShownPair, ...] = ()
    gap: Gap | None = None

    def timing(self, setting: Setting) -> Timing:
        return next(t for t in self.timings if t.setting == setting)

    @cached_property
    def rates(self) -> tuple[Rate, ...]:
        """The rates of ``result``, each with its basis; none if there is no result."""
        return rates_of(self.result) if self.result else ()

    def rate(self, name: str) -> Rate | None:
        return next((rate for rate in self.rates if rate.name == name), None)
