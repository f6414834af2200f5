"""Views mixed from two crops, which give a teacher more distinct inputs than there are faces."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from facekd.training.data import Batch


class Mixing(BaseModel):
    """Each view of a batch is, with probability ``p_mixup``, a blend ``l a + (1 - l) b`` with
    another of the batch (Zhang et al., "mixup", ICLR 2018), or, with probability ``p_cutmix``, has
    a rectangle of the share 1 - l from the same place of the other (Yun et al., "CutMix", ICCV
    2019), or, with probability ``p_cutpaste``, has a patch of that share from one place of the other
    at another place. l is drawn from Beta(``alpha``, ``alpha``); 1 is uniform, as in Beyer et al.,
    "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022.

    On aligned crops CutMix replaces a mouth by a mouth; cut-paste puts the patch anywhere. (CutPaste, Li et
    al., CVPR 2021, takes a small patch of the same image, as a defect to detect.)

    Mixed samples are unlabelled: their label becomes -1. Only a teacher that runs online can embed them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: the probability of blending a view with another view of the batch
    p_mixup: float = Field(0.0, ge=0, le=1)
    #: the probability of replacing a rectangle of a view by the same place of another
    p_cutmix: float = Field(0.0, ge=0, le=1)
    #: the probability of replacing a rectangle of a view by a patch from another place of another
    p_cutpaste: float = Field(0.0, ge=0, le=1)
    #: the share of the other view is drawn from Beta(``alpha``, ``alpha``); 1 is uniform
    alpha: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _at_most_one(self) -> Mixing:
        if self._share > 1:
            raise ValueError("p_mixup, p_cutmix and p_cutpaste must add up to at most 1")
        return self

    @property
    def active(self) -> bool:
        return self._share > 0

    @property
    def _share(self) -> float:
        """The share of views that are mixed in some way."""
        return math.fsum((self.p_mixup, self.p_cutmix, self.p_cutpaste))

    def mix(self, batch: Batch) -> Batch:
        """The batch with some of its views mixed, by torch's generator, which the loop seeds per step."""
        count, height, width, _ = batch.views.shape
        device = batch.views.device
        draw = torch.rand(count)
        first, second = self.p_mixup, self.p_mixup + self.p_cutmix
        blended, cut = draw < first, (draw >= first) & (draw < second)
        pasted = (draw >= second) & (draw < self._share)
        share = torch.distributions.Beta(self.alpha, self.alpha).sample((count,))
        # a shift by at least one, so that no view is mixed with itself
        others = (torch.arange(count) + torch.randint(1, max(count, 2), (1,))) % count
        theirs = batch.views[others.to(device)]
        own = torch.where(blended[:, None, None], share[:, None, None], 1.0).expand(count, height, width)
        own = torch.where(cut[:, None, None], (~rectangles(share, height, width)).float(), own)
        if self.p_cutpaste:
            patch = patches(share, height, width)
            own = torch.where(pasted[:, None, None], (~patch.inside).float(), own)
            theirs = torch.where(pasted[:, None, None, None].to(device), patch.moved(theirs), theirs)
        own = own[..., None].to(device)
        mixed = own * batch.views + (1 - own) * theirs
        labels = torch.where((blended | cut | pasted).to(device), -1, batch.labels)
        return replace(batch, views=mixed.round().to(torch.uint8), labels=labels)


def rectangles(share: Tensor, height: int, width: int) -> Tensor:
    """A mask of a rectangle of the area 1 - ``share`` [N], bool [N, height, width]; its centre is
    anywhere in the image, and the part outside the image is cut off."""
    sides = (1 - share).sqrt()
    middle_y, middle_x = torch.rand(len(share)) * height, torch.rand(len(share)) * width
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    inside_y = (rows - middle_y[:, None]).abs() < (sides * height / 2)[:, None]
    inside_x = (columns - middle_x[:, None]).abs() < (sides * width / 2)[:, None]
    return inside_y[:, :, None] & inside_x[:, None, :]


class Patches(NamedTuple):
    """Where patches are pasted, ``inside`` bool [N, H, W], and which row [N, H] and column [N, W] of
    the other view each row and column of the image then shows."""

    inside: Tensor
    rows: Tensor
    columns: Tensor

    def moved(self, views: Tensor) -> Tensor:
        """``views`` [N, H, W, 3], each shifted so that its patch is where it is pasted."""
        rows, columns = self.rows.to(views.device), self.columns.to(views.device)
        each = torch.arange(len(views), device=views.device)
        return views[each[:, None, None], rows[:, :, None], columns[:, None, :]]


def patches(share: Tensor, height: int, width: int) -> Patches:
    """Patches of the area 1 - ``share`` [N], in whole pixels, that are inside the image both where they are
    cut and where they are pasted; the two places are drawn independently."""
    sides = (1 - share).sqrt()
    inside_y, rows = _stretches(sides, height)
    inside_x, columns = _stretches(sides, width)
    return Patches(inside_y[:, :, None] & inside_x[:, None, :], rows, columns)


def _stretches(sides: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Patches along one axis: bool and int64, both [N, length]."""
    size = (sides * length).round().long()
    source, target = (torch.rand(2, len(sides)) * (length - size + 1)).long()[:, :, None]
    places = torch.arange(length)
    inside = (places >= target) & (places < target + size[:, None])
    return inside, (places + source - target) % length
