"""Measure how often a 95 % interval contains the true rate, on people simulated with known rates.

    python tools/measure_coverage.py --sets 2000

Independent trials use Wilson's and Clopper and Pearson's intervals. AUC, EER and
TAR at FMR 1e-2 of clustered comparisons use the bootstrap over identities that facekd
prints, beside the percentiles of the same replicates (both with the bound that facekd prints for
rates of 0 and 1). Scores are normal: a mated one is the separation, an effect of its person and noise,
a non-mated one the effects of both people and noise, so that the true rates are known exactly. Prints
the coverage with its standard error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import click
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from facekd.cli import run
from facekd.verification import (
    Interval,
    clopper_pearson,
    extreme_interval,
    log_odds_intervals,
    multiple_of,
    pair_statistics,
    replicated,
    wilson,
)

FMR = 1e-2
#: fewer than facekd uses: only their spread is needed, which is known to 3.5 %
REPLICATES = 400
#: spread of a person's effect on mated and on non-mated scores, and of the noise
OF_MATED, OF_NON_MATED, NOISE = 0.8, 0.35, 0.6
TRIALS = ((50, 0.7), (300, 0.9), (300, 0.97), (3000, 0.99))

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """``people`` people, with six mated comparisons each or with heavy-tailed numbers of them, and
    ``non_mated`` comparisons of people chosen at random."""

    people: int
    equal: bool
    separation: float
    non_mated: int

    def __str__(self) -> str:
        size = "equal" if self.equal else "unequal"
        return f"{self.people} people of {size} size, {self.non_mated} non-mated comparisons"

    def truth(self) -> Floats:
        """AUC, EER and TAR."""
        mated, non_mated = np.hypot(OF_MATED, NOISE), np.sqrt(2 * OF_NON_MATED**2 + NOISE**2)
        auc = ndtr(self.separation / np.hypot(mated, non_mated))
        eer = ndtr(-self.separation / (mated + non_mated))
        tar = ndtr((self.separation - non_mated * ndtri(1 - FMR)) / mated)
        return np.array([auc, eer, tar])

    def draw(self, random: np.random.Generator) -> tuple[Floats, Floats, Ids, Ids]:
        """Mated and non-mated scores, the people [M] of the former and [N, 2] of the latter. People
        with more mated comparisons also have more non-mated ones."""
        if self.equal:
            sizes = np.full(self.people, 6)
        else:
            sizes = np.minimum(np.ceil(random.pareto(1.2, self.people)), 100).astype(np.int64)
        ones = np.repeat(np.arange(self.people), sizes)
        one, other = random.choice(self.people, (2, self.non_mated), p=sizes / sizes.sum())
        others = np.stack([one, other], axis=1)[one != other]
        mated = self.separation + random.normal(0, OF_MATED, self.people)[ones]
        non_mated = random.normal(0, OF_NON_MATED, self.people)[others].sum(axis=1)
        return (
            mated + random.normal(0, NOISE, ones.size),
            non_mated + random.normal(0, NOISE, len(others)),
            ones,
            others,
        )


CASES = (
    Case(300, True, 2.6, 6000),
    Case(300, True, 4.2, 6000),
    Case(1000, True, 2.6, 3000),
    Case(300, False, 2.6, 6000),
    Case(50, True, 2.6, 4000),
    Case(50, True, 4.2, 4000),
    Case(20, True, 2.6, 4000),
)


def clustered(case: Case, sets: int, seed: int = 0, replicates: int = REPLICATES) -> tuple[Floats, Floats]:
    """The share of ``sets`` in which the interval of AUC, EER and TAR [3] contains the true rate: the printed
    intervals, and plain percentiles."""
    random, truth = np.random.default_rng(seed), case.truth()
    printed, percentile = np.zeros(3), np.zeros(3)
    for _ in range(sets):
        statistics, sizes = pair_statistics(*case.draw(random), [FMR])
        values = replicated(statistics, sizes.size, replicates)
        rates = np.array(statistics(np.ones(sizes.size)))
        extreme = [extreme_interval(rate, int((sizes > 0).sum())) for rate in rates]
        multiples = np.array([multiple_of(influence) for influence in statistics.influences()])
        plain = [Interval(low, high, "") for low, high in np.percentile(values, [2.5, 97.5], axis=0).T]
        printed += _hold(extreme, log_odds_intervals(rates, values, multiples), truth)
        percentile += _hold(extreme, plain, truth)
    return printed / sets, percentile / sets


def _hold(extreme: list[Interval | None], others: list[Interval], truth: Floats) -> list[bool]:
    found = [bound or other for bound, other in zip(extreme, others, strict=True)]
    return [i.low <= true <= i.high for i, true in zip(found, truth, strict=True)]


def independent(
    interval: Callable[[int, int], Interval], trials: int, rate: float, sets: int, seed: int = 0
) -> float:
    """The share of ``sets`` of ``trials`` with probability ``rate`` whose interval contains ``rate``."""
    hits, counts = np.unique(np.random.default_rng(seed).binomial(trials, rate, sets), return_counts=True)
    held = [interval(int(h), trials).low <= rate <= interval(int(h), trials).high for h in hits]
    return float(counts @ held) / sets


@click.command()
@click.option("--sets", type=click.IntRange(10), default=2000, show_default=True)
def main(sets: int) -> None:
    """Measure the coverage of every interval on drawn sets."""

    def told(share: float) -> str:
        return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / sets):.1f}"

    click.echo(f"{sets} sets; coverage in %, ± one standard error\n")
    click.echo("| independent trials | rate | Wilson | Clopper-Pearson |")
    click.echo("| --- | --- | --- | --- |")
    for trials, rate in TRIALS:
        both = [told(independent(kind, trials, rate, sets)) for kind in (wilson, clopper_pearson)]
        click.echo(f"| {trials} | {rate} | {' | '.join(both)} |")
    click.echo("\n| people | measure | truth | bootstrap over identities | its percentiles |")
    click.echo("| --- | --- | --- | --- | --- |")
    for case in CASES:
        printed, percentile = clustered(case, sets)
        for place, name in enumerate(("AUC", "EER", f"TAR@FMR {FMR:g}")):
            true = f"{100 * case.truth()[place]:.2f} %"
            click.echo(f"| {case} | {name} | {true} | {told(printed[place])} | {told(percentile[place])} |")


if __name__ == "__main__":
    raise SystemExit(run(main))
