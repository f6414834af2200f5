"""Views made of two crops: more inputs to a teacher than there are faces."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from facekd.training.data import Batch


class Mixing(BaseModel):
    """Each view of a batch is, with probability ``p_mixup``, a blend ``l a + (1 - l) b`` with
    another of the batch (Zhang et al., "mixup", ICLR 2018), or, with probability ``p_cutmix``, has
    a rectangle of the share 1 - l from the same place of the other (Yun et al., "CutMix", ICCV
    2019). l is drawn from Beta(``alpha``, ``alpha``); 1 is uniform, as in Beyer et al., "Knowledge
    distillation: a good teacher is patient and consistent", CVPR 2022.

    A mixed view is nobody's: its label becomes -1. Only a teacher that is asked online can say
    what it sees in one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    p_mixup: float = Field(0.0, ge=0, le=1)
    p_cutmix: float = Field(0.0, ge=0, le=1)
    alpha: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _at_most_one(self) -> Mixing:
        if self.p_mixup + self.p_cutmix > 1:
            raise ValueError("p_mixup and p_cutmix add up to 1 at most")
        return self

    @property
    def active(self) -> bool:
        return self.p_mixup + self.p_cutmix > 0

    def mix(self, batch: Batch) -> Batch:
        """The batch with some of its views mixed, by torch's random state, which a run saves."""
        count, height, width, _ = batch.views.shape
        device = batch.views.device
        draw = torch.rand(count)
        blended, pasted = draw < self.p_mixup, (draw >= self.p_mixup) & (draw < self.p_mixup + self.p_cutmix)
        share = torch.distributions.Beta(self.alpha, self.alpha).sample((count,))
        # a shift by at least one: nobody is mixed with itself
        others = (torch.arange(count) + torch.randint(1, max(count, 2), (1,))) % count
        own = torch.where(blended[:, None, None], share[:, None, None], 1.0).expand(count, height, width)
        own = torch.where(pasted[:, None, None], (~rectangles(share, height, width)).float(), own).to(device)
        own = own[..., None]
        mixed = own * batch.views + (1 - own) * batch.views[others.to(device)]
        labels = torch.where((blended | pasted).to(device), -1, batch.labels)
        return replace(batch, views=mixed.round().to(torch.uint8), labels=labels)


def rectangles(share: Tensor, height: int, width: int) -> Tensor:
    """Where a rectangle of the area 1 - ``share`` [N] lies, bool [N, height, width]; its middle is
    anywhere, what lies outside the image is lost."""
    sides = (1 - share).sqrt()
    middle_y, middle_x = torch.rand(len(share)) * height, torch.rand(len(share)) * width
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    inside_y = (rows - middle_y[:, None]).abs() < (sides * height / 2)[:, None]
    inside_x = (columns - middle_x[:, None]).abs() < (sides * width / 2)[:, None]
    return inside_y[:, :, None] & inside_x[:, None, :]
