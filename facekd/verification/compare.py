"""Two models on the same comparisons: is one better, or is it chance?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from facekd.errors import UsageError
from facekd.verification.differences import (
    ACCURACY,
    Difference,
    accuracy_difference,
    in_points,
    tar_difference,
)
from facekd.verification.result import PairResult


@dataclass(frozen=True)
class Paired:
    """McNemar's exact test (Psychometrika 1947) on the errors of ``other`` and ``reference``.

    A failed comparison is an error. ``only_*`` count the comparisons that one of the two got
    wrong alone: they are all the evidence there is for a difference. ``differences`` hold that of
    the accuracy and those of the TARs over all pairs, with intervals, as far as the data has them.
    """

    reference: str
    other: str
    comparisons: int
    reference_errors: int
    other_errors: int
    only_reference: int
    only_other: int
    p_value: float
    differences: tuple[Difference, ...] = ()

    @property
    def sentence(self) -> str:
        tars = [d for d in self.differences if d.measure != ACCURACY]
        return " ".join([self._accuracy, *[f"{d.measure}: {d.told(self.reference)}." for d in tars]])

    @property
    def _accuracy(self) -> str:
        errors = (
            f"{self.other_errors} against {self.reference_errors} errors in {self.comparisons:,} comparisons"
        )
        found = next((d for d in self.differences if d.measure == ACCURACY), None)
        value = (self.reference_errors - self.other_errors) / self.comparisons
        told = found.told(self.reference) if found else in_points(value, self.reference)
        if self.only_reference == self.only_other:
            return f"{self.other} is {told}: {errors}."
        sure = "more than chance explains" if self.p_value < 0.05 else "which chance may explain"
        return (
            f"{self.other} is {told}: {errors}, {self.only_other} and {self.only_reference} of them alone, "
            f"{sure} (McNemar's exact test, p = {self.p_value:.2g})."
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sentence": self.sentence}


def paired(reference_name: str, reference: PairResult, other_name: str, other: PairResult) -> Paired:
    """Compare two results of one protocol. Raises `UsageError` where the comparisons differ."""
    if reference.source != other.source or reference.right.shape != other.right.shape:
        raise UsageError("two models can be compared on the same list of pairs only")
    only_reference = int((~reference.right & other.right).sum())
    only_other = int((reference.right & ~other.right).sum())
    return Paired(
        reference_name, other_name, int(reference.right.size), int((~reference.right).sum()),
        int((~other.right).sum()), only_reference, only_other, mcnemar(only_reference, only_other),
        tuple(_differences(reference, other)),
    )  # fmt: skip


def _differences(reference: PairResult, other: PairResult) -> Iterator[Difference]:
    with suppress(UsageError):  # with too few persons nothing can be drawn
        if reference.pair_people is not None:
            yield accuracy_difference(reference.right, other.right, reference.mated, reference.pair_people)
        if reference.everyone is not None and other.everyone is not None:
            for theirs, ours in zip(reference.everyone_points, other.everyone_points, strict=True):
                if theirs.tar is not None and ours.tar is not None:
                    yield tar_difference(reference.everyone, other.everyone, ours.fmr)


def mcnemar(one: int, other: int) -> float:
    """The two-sided exact p-value of ``one`` against ``other`` discordant comparisons."""
    from scipy.special import bdtr

    total = one + other
    return min(1.0, 2 * float(bdtr(min(one, other), total, 0.5))) if total else 1.0
