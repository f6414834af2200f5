"""Make torchvision work with a CPU build of torch if its compiled operators cannot load.

A torchvision built for CUDA beside a torch built without it fails at import with "operator
torchvision::nms does not exist". facekd needs only one of its compiled operators, non-maximum
suppression, which is defined here; the others still raise torchvision's own error.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
#: torch.library removes the declarations of a `Library` when the object is deleted
_kept: list[torch.library.Library] = []


def ensure_torchvision_ops() -> None:
    """Make ``import torchvision`` work; call it before the first import of torchvision.

    Does nothing if the compiled operators load, if torchvision is absent, or with a
    CUDA build of torch: there, operators that do not load are a broken installation, which
    torchvision reports best itself.
    """
    if _kept or torch.version.cuda is not None or torch.version.hip is not None:
        return
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None or _compiled_ops_load(Path(found.origin).parent):
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms" + _SCHEMA)
    library.define("qnms" + _SCHEMA)
    library.impl("nms", nms, "CPU")
    _kept.append(library)

    from torchvision.ops import boxes

    boxes._assert_has_ops = lambda: None


def _compiled_ops_load(package: Path) -> bool:
    try:
        for name in ("_C.so", "_C.pyd"):
            if (package / name).is_file():
                torch.ops.load_library(str(package / name))
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression, as `torchvision.ops.nms`.

    ``dets`` [N, 4] is x1, y1, x2, y2; ``scores`` [N]. Returns int64 indices of the boxes kept, best
    score first: a box is removed if its overlap with a better one exceeds ``iou_threshold``.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for best in range(len(boxes)):
        if not alive[best]:
            continue
        rest = boxes[best + 1 :]
        top_left = torch.maximum(boxes[best, :2], rest[:, :2])
        bottom_right = torch.minimum(boxes[best, 2:], rest[:, 2:])
        shared = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        overlap = shared / (areas[best] + areas[best + 1 :] - shared)
        alive[best + 1 :] &= ~(overlap > iou_threshold)
    return order[alive]
