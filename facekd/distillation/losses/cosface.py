"""CosFace from labels."""

from __future__ import annotations

from typing import Any

from facekd.distillation.losses._base import Setting, register_loss
from facekd.distillation.losses._margin_softmax import MarginSoftmax


@register_loss("cosface")
class CosFace(MarginSoftmax):
    """`with_cos_margin` on the target."""

    whole_batch = True
    name = "cosface"

    def __init__(self, setting: Setting, margin: float = 0.35, scale: float = 64.0, **softmax: Any) -> None:
        super().__init__(setting, margin, scale, **softmax)
