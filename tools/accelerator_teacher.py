"""Teachers and held-out people on a device: the targets of a batch, and the accuracy of a student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from facekd.card import LandmarkCrop
from facekd.errors import UsageError
from facekd.models import FaceNet, Targets, to_planes
from facekd.models.teachers import load_network, side_by_side
from facekd.training.data import Batch

#: by the name of an exported network, timm's name of the torch network whose weights are beside it
TIMM_NAMES = {"edgeface_xs": "edgenext_x_small", "edgeface_xxs": "edgenext_xx_small"}
#: precisions, with their type in torch
PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
#: the mean cosine to float32 below which lower precision is not used
CLOSE = 0.9995
#: rows of scores computed at a time, so that those of many crops fit into memory
_ROWS = 2048


def torch_specs(models: Sequence[str], base: Path) -> tuple[str, ...]:
    """The ``models`` of a recipe in ``base``, as `facekd.models.teachers.load_network` takes them.

    An exported EdgeFace is replaced by the safetensors file beside it. Raises `UsageError` for any other
    exported model, because ONNX Runtime is not used here.
    """
    return tuple(_torch_spec(model, base) for model in models)


def _torch_spec(model: str, base: Path) -> str:
    if Path(model).suffix not in (".onnx", ".toml"):
        return model
    file = (base / model).with_suffix(".safetensors")
    name = TIMM_NAMES.get(file.stem)
    if name is None or not file.is_file():
        known = ", ".join(f"{stem}.safetensors" for stem in TIMM_NAMES)
        raise UsageError(
            f"{model}: an exported teacher does not run on an accelerator here",
            f"Put its torch weights beside it ({known} are known), or name a torch teacher with --teacher.",
        )
    return f"timm:{name}:{file}"


class OnlineTeacher:
    """Torch networks that embed views on their device. Several are joined as `SeveralTeachers` joins them."""

    def __init__(self, specs: Sequence[str], device: torch.device, precision: str = "float32") -> None:
        loaded = [load_network(spec) for spec in specs]
        wrong = [card.name for _, card in loaded if card.crop != LandmarkCrop()]
        if not loaded or wrong:
            raise UsageError(f"teacher {', '.join(wrong) or 'missing'}: it must take 112-pixel ArcFace crops")
        self.networks = [
            net.requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for net, _ in loaded
        ]
        self.cards = [card for _, card in loaded]
        self.precisions = [precision] * len(loaded)

    @property
    def name(self) -> str:
        return " + ".join(card.name for card in self.cards)

    @property
    def members(self) -> list[dict[str, str]]:
        """Names and spaces, as the checkpoints of a run state them."""
        return [{"name": card.name, "space": card.space} for card in self.cards]

    @property
    def dim(self) -> int:
        return sum(card.embedding.dim for card in self.cards)

    def embed(self, views: Tensor) -> Tensor:
        """uint8 RGB [N, 112, 112, 3] to unit rows float32 [N, D]."""
        rows = [self._rows(number, views, self.precisions[number]) for number in range(len(self.cards))]
        return rows[0] if len(rows) == 1 else side_by_side(rows)

    def targets(self, batch: Batch) -> Targets:
        """The targets of a batch."""
        return Targets(self.embed(batch.views))

    def settle_precision(self, views: Tensor) -> list[str]:
        """For each teacher whose cosine to float32 on ``views`` is too small, switch to bf16, then to
        float32; return a line for each precision tried.

        EdgeFace XS overflows in fp16 (its attention gives no numbers on a CPU), XXS does not.
        """
        told = []
        for number, card in enumerate(self.cards):
            exact = self._rows(number, views, "float32")
            for tried in dict.fromkeys((self.precisions[number], "bf16", "float32")):
                cosines = (self._rows(number, views, tried) * exact).sum(1)
                mean, least = float(cosines.mean()), float(cosines.min())
                self.precisions[number] = tried
                told.append(f"{card.name} in {tried}: cosine to float32 {mean:.5f}, at least {least:.5f}")
                if mean >= CLOSE:
                    break
        return told

    @torch.no_grad()
    def _rows(self, number: int, views: Tensor, precision: str) -> Tensor:
        wanted = PRECISIONS[precision]
        with torch.autocast(views.device.type, wanted, enabled=wanted is not None):
            planes = to_planes(views, self.cards[number].input, views.device)
            found = self.networks[number](planes.contiguous(memory_format=torch.channels_last))
        return nn.functional.normalize(found.float(), dim=1)


def in_batches(embed: Callable[[Tensor], Tensor], crops: Tensor, size: int) -> Tensor:
    """``embed`` of ``crops`` [N, ...], ``size`` at a time."""
    return torch.cat([embed(some) for some in crops.split(size)])


@torch.no_grad()
def student_rows(student: FaceNet, crops: Tensor) -> Tensor:
    """Unit rows float32 [N, D] of ``crops`` uint8 [N, S, S, 3] by a network in eval mode, in float32."""
    planes = to_planes(crops, student.input, crops.device)
    # not `student(...)`, for which a compiled network would be compiled again
    rows = student.forward(planes.contiguous(memory_format=torch.channels_last))
    return nn.functional.normalize(rows.float(), dim=1)


def tar_on_device(rows: Tensor, labels: Tensor, fmr: float) -> float:
    """TAR at ``fmr`` over all pairs of unit ``rows`` [N, D] of identities ``labels`` [N], on their device:
    what `facekd.verification.all_pairs(rows, labels).tar_at(fmr)` gives.

    Raises `UsageError` if there is no mated or no non-mated comparison.
    """
    mated, highest = [], torch.empty(0, device=rows.device)
    non_mated = _non_mated(labels)
    allowed = min(int(non_mated * fmr * (1 + 1e-12)), non_mated - 1)
    for start in range(0, len(rows), _ROWS):
        some = slice(start, start + _ROWS)
        scores = (rows[some] @ rows[start:].T).clamp_(-1, 1)
        above = torch.ones_like(scores, dtype=torch.bool).triu_(1)
        same = labels[some, None] == labels[None, start:]
        mated.append(scores[same & above])
        others = torch.cat([highest, scores[~same & above]])
        highest = others.topk(min(allowed + 1, len(others))).values
    genuine = torch.cat(mated)
    if non_mated < 1 or not len(genuine):
        raise UsageError("held-out people: there must be two, and one of them with two crops")
    return float((genuine > highest[allowed]).double().mean())


def _non_mated(labels: Tensor) -> int:
    counts = labels.unique(return_counts=True)[1]
    total = int(counts.sum())
    return (total * (total - 1) - int((counts * (counts - 1)).sum())) // 2
