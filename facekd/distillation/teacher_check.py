"""What the teacher itself is worth on people that nobody trains on, before a student learns from it.

A teacher whose crops are read wrongly (colours in another order, another scale or template) gives unit
vectors like any other, and a student learns them well.
"""

from __future__ import annotations

import torch

from facekd.distillation.heldout_judge import CHOOSING_FMR
from facekd.distillation.target_cache import open_target_cache
from facekd.distillation.teacher_query import TeacherQuery, fill_missing
from facekd.errors import UsageError
from facekd.models import Teacher
from facekd.training import Augmentation
from facekd.training.data import CropSet
from facekd.verification import AllPairs, OperatingPoint, all_pairs

#: of a teacher, what is to be said where its file has no card
WITHOUT_CARD = (
    "has no card: it is read by insightface's convention (RGB, the ArcFace template, values from -1 to 1). "
    "If it wants anything else it teaches nonsense; 'facekd card FILE --set' states what it wants"
)
#: the strictest of these for which the held-out people are enough is judged by
_FMRS = (CHOOSING_FMR, 1e-2, 1e-1)


def judge_teacher(
    teacher: Teacher, heldout: CropSet, floor: float, query: TeacherQuery
) -> OperatingPoint | None:
    """The teacher's TAR at FMR 1e-3 over all pairs of the ``heldout`` crops, with its interval; the TAR is
    said. `None` where they are too few.

    Raises `UsageError` where its TAR, at the strictest FMR that they suffice for, lies below ``floor``.
    """
    targets = open_target_cache(query.cache, teacher, heldout, Augmentation(), 0)
    for part in targets.parts:
        fill_missing(part, range(1), query)
    pairs = all_pairs(targets.rows(0, torch.arange(len(heldout))).numpy(), heldout.labels)
    point = _strictest(pairs)
    if point is None or point.tar is None:
        shortfall = pairs.operating_point(CHOOSING_FMR).shortfall
        query.say(f"teacher {teacher.name}: no held-out TAR of its own ({shortfall})")
        return None
    told = f"TAR {point.tar:.2%} at FMR {point.fmr:g}"
    query.say(f"teacher {teacher.name}: held-out {told} of its own (all pairs, choosing part)")
    if point.tar < floor:
        raise UsageError(
            f"the teacher {teacher.name} hardly tells the held-out people apart: {told}, below the floor of "
            f"{floor:.0%}",
            "See how it is fed: colour order, scale and template stand in its card ('facekd card FILE'). For "
            "a teacher that is known to be so weak set floor = 0 under [teacher].",
        )
    return point if point.fmr == CHOOSING_FMR else None


def _strictest(pairs: AllPairs) -> OperatingPoint | None:
    for fmr in _FMRS:
        if fmr > 1e-2 and pairs.tail.size < pairs.non_mated:
            continue
        point = pairs.operating_point(fmr)
        if point.tar is not None:
            return point
    return None
