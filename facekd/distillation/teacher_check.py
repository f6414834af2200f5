"""Evaluate the teacher on held-out people before a student is trained from it.

A teacher that reads its crops wrongly (another colour order, scale or template) outputs unit
vectors all the same, and a student would learn them well.
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

#: the note on a teacher without a card
WITHOUT_CARD = (
    "has no card: it is read by insightface's convention (RGB, the ArcFace template, values from -1 to 1). "
    "If it needs another input its targets are wrong; 'facekd card FILE --set' states the right input"
)
#: the strictest of these FMRs for which there are enough held-out people decides
_FMRS = (CHOOSING_FMR, 1e-2, 1e-1)


def judge_teacher(
    teacher: Teacher, heldout: CropSet, floor: float, query: TeacherQuery
) -> OperatingPoint | None:
    """The teacher's TAR at FMR 1e-3 over all pairs of the ``heldout`` crops, with its interval; the TAR is
    also reported. `None` if there are too few.

    Raises `UsageError` if its TAR, at the strictest FMR with enough pairs, is below ``floor``.
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
            "Check its input in its card ('facekd card FILE'): colour order, scale and template. To use a "
            "teacher that is known to be weak, set floor = 0 under [teacher].",
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
