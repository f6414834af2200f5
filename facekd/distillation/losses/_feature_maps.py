"""Choose the feature maps to compare, and resize them to one size."""

from __future__ import annotations

from torch import Tensor, nn

from facekd.distillation.losses._base import Maps, Setting
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


class MapPair:
    """One feature map of the student and one of the teacher, by name.

    By default: the student's last map, and the last teacher map among those nearest to it in
    size. Raises `RecipeError` for a name that does not exist or a network without maps.
    """

    def __init__(self, setting: Setting, student: str | None, teacher: str | None, loss: str) -> None:
        self.student = _named(setting.student_maps, student, "student", loss)
        if teacher is None and setting.teacher_maps:
            height = setting.student_maps[self.student][1]
            maps = setting.teacher_maps
            teacher = min(reversed(list(maps)), key=lambda name: abs(maps[name][1] - height))
        self.teacher = _named(setting.teacher_maps, teacher, "teacher", loss)

    def of(self, student: Outputs, teacher: Targets) -> tuple[Tensor, Tensor]:
        """The two maps [N, C_s, H, W] and [N, C_t, H, W], the teacher's resized to the student's
        size: area means where it is larger, bilinear where it is smaller."""
        mine = student.features[self.student].float()
        theirs = teacher.features[self.teacher].float().detach()
        size = (mine.shape[2], mine.shape[3])
        if theirs.shape[-1] > size[-1]:
            theirs = nn.functional.adaptive_avg_pool2d(theirs, size)
        elif theirs.shape[-1] < size[-1]:
            theirs = nn.functional.interpolate(theirs, size, mode="bilinear")
        return mine, theirs


def _named(maps: Maps, name: str | None, whose: str, loss: str) -> str:
    if not maps:
        hint = "Use a teacher that runs in torch: a run folder, or timm:NAME:FILE."
        raise RecipeError(f"loss '{loss}': this {whose} has no feature maps", hint)
    if name is None:
        return list(maps)[-1]
    if name not in maps:
        known = ", ".join(maps)
        raise RecipeError(f"loss '{loss}': the {whose} has no feature map '{name}' (it has: {known})")
    return name
