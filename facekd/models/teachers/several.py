"""Several teachers as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facekd.card import canonical_json
from facekd.models._base import Targets, Teacher


class SeveralTeachers:
    """Unit embeddings side by side, renormalised: the cosine is the mean of the members' cosines.

    Feature maps are named with the member's number: ``0.stage1``, ``1.stage1``. ``space`` is the
    SHA-256 of the members' spaces in their order.
    """

    def __init__(self, members: Sequence[Teacher]) -> None:
        self.members = tuple(members)

    @property
    def name(self) -> str:
        return " + ".join(member.name for member in self.members)

    @property
    def space(self) -> str:
        return hashlib.sha256(canonical_json([m.space for m in self.members])).hexdigest()

    @property
    def dim(self) -> int:
        return sum(member.dim for member in self.members)

    def targets(self, views: NDArray[np.uint8]) -> Targets:
        """Unit rows [N, sum of D] and the members' feature maps, of uint8 RGB [N, 112, 112, 3]."""
        found = [member.targets(views) for member in self.members]
        device = found[-1].embedding.device
        joined = side_by_side([targets.embedding.to(device) for targets in found])
        features = {
            f"{number}.{name}": maps
            for number, targets in enumerate(found)
            for name, maps in targets.features.items()
        }
        return Targets(joined, features)


def side_by_side(embeddings: Sequence[Tensor]) -> Tensor:
    """The members' unit rows [N, D] as unit rows [N, sum of D]."""
    return nn.functional.normalize(torch.cat(list(embeddings), dim=1), dim=1)


def members_of(teacher: Teacher) -> tuple[Teacher, ...]:
    """The teachers that ``teacher`` joins; only itself if it is a single one."""
    return teacher.members if isinstance(teacher, SeveralTeachers) else (teacher,)
