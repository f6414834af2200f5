"""Two models on the same comparisons: is the difference more than chance?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from facekd.errors import UsageError
from facekd.verification.differences import accuracy_difference, tar_difference
from facekd.verification.results import Difference, Paired, PairResult


def compare_models(reference_name: str, reference: PairResult, other_name: str, other: PairResult) -> Paired:
    """Compare two results of one protocol. Raises `UsageError` if the comparisons differ."""
    if reference.source != other.source or reference.right.shape != other.right.shape:
        raise UsageError("two models can only be compared on the same list of pairs")
    only_reference = int((~reference.right & other.right).sum())
    only_other = int((reference.right & ~other.right).sum())
    return Paired(
        reference_name, other_name, int(reference.right.size), int((~reference.right).sum()),
        int((~other.right).sum()), only_reference, only_other, mcnemar(only_reference, only_other),
        tuple(_differences(reference, other)),
    )  # fmt: skip


def _differences(reference: PairResult, other: PairResult) -> Iterator[Difference]:
    with suppress(UsageError):  # there may be too few people to resample
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
