"""ArcFace from labels."""

from __future__ import annotations

from typing import Any

from facekd.distillation.losses._base import Setting, register_loss
from facekd.distillation.losses._margin_softmax import MarginSoftmax


@register_loss("arcface")
class ArcFace(MarginSoftmax):
    """`with_arc_margin` on the target."""

    whole_batch = True
    name = "arcface"

    def __init__(self, setting: Setting, margin: float = 0.5, scale: float = 64.0, **softmax: Any) -> None:
        super().__init__(setting, margin, scale, **softmax)
