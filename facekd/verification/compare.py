"""Two models on the same comparisons: is one better, or is it chance?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from facekd.errors import UsageError
from facekd.verification.result import PairResult


@dataclass(frozen=True)
class Paired:
    """McNemar's exact test (Psychometrika 1947) on the errors of ``other`` and ``reference``.

    A failed comparison is an error. ``only_*`` count the comparisons that one of the two got
    wrong alone: they are all the evidence there is for a difference.
    """

    reference: str
    other: str
    comparisons: int
    reference_errors: int
    other_errors: int
    only_reference: int
    only_other: int
    p_value: float

    @property
    def sentence(self) -> str:
        errors = (
            f"{self.other_errors} against {self.reference_errors} errors in {self.comparisons:,} comparisons"
        )
        points = 100 * (self.other_errors - self.reference_errors) / self.comparisons
        if points == 0:
            return f"{self.other} is level with {self.reference}: {errors}."
        side = "below" if points > 0 else "above"
        sure = "more than chance explains" if self.p_value < 0.05 else "which chance may explain"
        return (
            f"{self.other} is {abs(points):.2f} points {side} {self.reference}: {errors}, "
            f"{self.only_other} and {self.only_reference} of them alone, {sure} "
            f"(McNemar's exact test, p = {self.p_value:.2g})."
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
    )  # fmt: skip


def mcnemar(one: int, other: int) -> float:
    """The two-sided exact p-value of ``one`` against ``other`` discordant comparisons."""
    from scipy.special import bdtr

    total = one + other
    return min(1.0, 2 * float(bdtr(min(one, other), total, 0.5))) if total else 1.0
