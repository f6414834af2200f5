"""One model as a benchmark measured it."""

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
    """Student's accuracy less teacher's on the same pairs, a failed one being an error, as shares. ``low``
    and ``high`` bound the 95 % interval found by ``method``; `None` where the list does not say which
    pairs share a person."""

    difference: float
    low: float | None
    high: float | None
    pairs: int
    method: str | None = None

    @classmethod
    def of(cls, paired: Paired) -> Gap:
        """What `compare_models` found of a student beside its teacher."""
        value = (paired.reference_errors - paired.other_errors) / paired.comparisons
        for found in paired.differences:
            if found.measure == ACCURACY:
                low, high, method = found.interval.low, found.interval.high, found.interval.method
                return cls(value, low, high, paired.comparisons, method)
        return cls(value, None, None, paired.comparisons)


@dataclass(frozen=True)
class BenchmarkedModel:
    """All that is known of one model; ``timings`` in the order of the benchmark's settings.

    ``result`` is what the protocol found, ``hardest`` are the comparisons that it decides worst and
    ``gap`` says how far it lies from the teacher, where photos were given.
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
        """The rates of ``result``, each with what it rests on; none where there is no result."""
        return rates_of(self.result) if self.result else ()

    def rate(self, name: str) -> Rate | None:
        return next((rate for rate in self.rates if rate.name == name), None)
