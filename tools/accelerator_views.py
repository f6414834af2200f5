"""Crops as one tensor on a device, and views of them that are computed there, a batch at a time.

The views have the distribution of `facekd.training.Augmentation`, but random numbers of their own: those of a
batch depend only on the seed and the images seen before it. They are drawn on the CPU, so that views are the
same on every device and no step waits for the device. Shift, rotation, scale, colour, grey, low resolution
and blur are supported; a recipe with any other degradation is refused (`require_made_here`).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facekd.errors import UsageError
from facekd.runtime import threads_available
from facekd.training import Augmentation
from facekd.training.data import CropSet

#: crops that a process decodes at a time
_SPAN = 512
#: the weights of red, green and blue in OpenCV's grey
_LUMA = (0.299, 0.587, 0.114)
#: not supported on a device: OpenCV's JPEG, and degradations that the default recipe does not use
_ELSEWHERE = ("p_jpeg", "p_erase", "p_dark", "p_noise")
#: sigmas in pixels of a blur, and the reach of the widest one
_LEAST_SIGMA, _MOST_SIGMA, _REACH = 0.5, 2.0, 6
#: inherited by the decoding processes
_shared: dict[str, tuple[CropSet, NDArray[np.uint8]]] = {}


def decoded(crops: CropSet, processes: int | None = None) -> Tensor:
    """All ``crops`` as uint8 [N, S, S, 3] in main memory, decoded by ``processes`` (default: one for each
    available processor).

    Call it before a device is used: the processes are forked, and write into shared memory. Raises the errors
    of `CropSet.read`.
    """
    processes = processes or threads_available()
    shape = (len(crops), crops.size, crops.size, 3)
    pixels = np.frombuffer(mmap.mmap(-1, int(np.prod(shape))), np.uint8).reshape(shape)
    spans = [range(start, min(start + _SPAN, len(crops))) for start in range(0, len(crops), _SPAN)]
    _shared["crops"] = crops, pixels
    try:
        if processes == 1:
            for span in spans:
                _decode(span)
        else:
            with ProcessPoolExecutor(processes, get_context("fork")) as pool:
                list(pool.map(_decode, spans))
    finally:
        del _shared["crops"]
    return torch.from_numpy(pixels)


def _decode(span: range) -> None:
    crops, pixels = _shared["crops"]
    for index in span:
        pixels[index] = crops.read(index)


class ShuffledCrops:
    """The order of the crops, and which of them are mirrored, as in `facekd.training.data.EpochOrder`; a
    batch at a time."""

    def __init__(self, crops: int, seed: int, mirror: bool) -> None:
        self.crops, self.seed, self.mirror = crops, seed, mirror
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self._flips = torch.empty(0, dtype=torch.bool)

    def batch(self, position: int, count: int) -> tuple[Tensor, Tensor]:
        """The ``count`` crops int64 [N] after the first ``position``, and bool [N] which are mirrored."""
        parts = list(self._parts(position, count))
        return torch.cat([order for order, _ in parts]), torch.cat([flips for _, flips in parts])

    def _parts(self, position: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        while count:
            epoch, place = divmod(position, self.crops)
            self._shuffle(epoch)
            taken = min(count, self.crops - place)
            yield self._order[place : place + taken], self._flips[place : place + taken]
            position, count = position + taken, count - taken

    def _shuffle(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        rng = np.random.default_rng((self.seed, epoch))
        self._order = torch.from_numpy(rng.permutation(self.crops))
        self._flips = torch.from_numpy(rng.random(self.crops) < 0.5) & self.mirror
        self._epoch = epoch


@dataclass(frozen=True)
class Chances:
    """The random augmentation of N crops, [N] each.

    ``angle`` in degrees, ``zoom`` as a share, ``dx`` and ``dy`` in pixels of a 112-pixel crop; factors
    ``brightness``, ``contrast`` and ``saturation`` (0: grey); ``reduced`` is the side that a crop is reduced
    to and ``sigma`` that of its blur, in pixels, 0 for neither.
    """

    angle: Tensor
    zoom: Tensor
    dx: Tensor
    dy: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    reduced: Tensor
    sigma: Tensor
    mirrored: Tensor

    def on(self, device: torch.device) -> Chances:
        """The same on a device."""
        return Chances(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


def require_made_here(augmentation: Augmentation) -> None:
    """Raise `UsageError` if ``augmentation`` needs something that is not supported on a device."""
    asked = [name for name in _ELSEWHERE if getattr(augmentation, name) > 0]
    if asked:
        raise UsageError(
            f"augmentation: {', '.join(asked)} not supported on an accelerator",
            "Leave them out, or train with 'facekd distill'.",
        )


def drawn(a: Augmentation, mirrored: Tensor, seed: int, position: int, side: int = 112) -> Chances:
    """Draw the augmentation of the crops, ``mirrored`` [N] or not, of the batch after ``position`` images."""
    state = np.random.SeedSequence((seed, position)).generate_state(1, np.uint64)
    source = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
    count = len(mirrored)
    moved, coloured, grey, low, blur = torch.rand(5, count, generator=source).unbind()
    within = 2 * torch.rand(7, count, generator=source) - 1
    small, soft = torch.rand(2, count, generator=source).unbind()
    moves = within[:4] * torch.tensor([a.rotate, a.scale, a.shift, a.shift])[:, None] * (moved < a.p_move)
    factors = 1 + within[4:] * a.colour * (coloured < a.p_colour)
    factors[2, grey < a.p_grey] = 0
    sides = _reduced(a, small.double(), side) * (low < a.p_low_resolution)
    sigma = (_LEAST_SIGMA + (_MOST_SIGMA - _LEAST_SIGMA) * soft) * (blur < a.p_blur)
    return Chances(*moves.unbind(), *factors.unbind(), sides, sigma, mirrored)  # type: ignore[call-arg]


def _reduced(a: Augmentation, share: Tensor, side: int) -> Tensor:
    """The sides int64 [N] for ``share`` [N] in [0, 1] of the way from the smallest to three quarters."""
    least = a.low_resolution * side / 112
    return (least + share * (side * 0.75 - least)).round().clamp(min=1).long()


class ViewMaker(nn.Module):
    """Views of crops of ``side`` pixels. Filters are matrices, obtained by applying OpenCV to the identity: a
    product from each side reduces and enlarges, or blurs."""

    resampling: Tensor
    neighbours: Tensor

    def __init__(self, augmentation: Augmentation, side: int = 112) -> None:
        super().__init__()
        require_made_here(augmentation)
        ends = _reduced(augmentation, torch.tensor([0.0, 1.0], dtype=torch.float64), side)
        low, high = sorted(ends.tolist())
        self._first = low
        self.register_buffer("resampling", torch.stack([_resampled(side, r) for r in range(low, high + 1)]))
        self.register_buffer("neighbours", torch.stack([_shifted(side, k) for k in _offsets().tolist()]))

    @torch.no_grad()
    def forward(self, crops: Tensor, chances: Chances) -> Tensor:
        """Views of the same shape from ``crops`` uint8 [N, S, S, 3] and their ``chances``, which are on the
        CPU."""
        here = chances.on(crops.device)
        planes = crops.permute(0, 3, 1, 2).float()
        planes = _lit(_moved(planes, here), here)
        self._filter(
            planes, chances.reduced > 0, lambda rows: self.resampling[here.reduced[rows] - self._first]
        )
        self._filter(planes, chances.sigma > 0, lambda rows: self._blurs(here.sigma[rows]))
        planes = torch.where(here.mirrored[:, None, None, None], planes.flip(-1), planes)
        return planes.round().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    @staticmethod
    def _filter(planes: Tensor, chosen: Tensor, filters: Callable[[Tensor], Tensor]) -> None:
        """Apply to each of the ``chosen`` [N] planes its matrix."""
        rows = chosen.nonzero()[:, 0].to(planes.device)
        if len(rows):
            matrix = filters(rows)[:, None]
            planes[rows] = matrix @ planes[rows] @ matrix.transpose(-1, -2)

    def _blurs(self, sigma: Tensor) -> Tensor:
        """Matrices [N, S, S] of Gaussian blurs with ``sigma`` [N], as wide as OpenCV's of bytes."""
        offsets = _offsets().to(sigma.device)
        reach = (6 * sigma + 1).round().div(2, rounding_mode="floor")
        weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2) * (offsets.abs() <= reach[:, None])
        weights = weights / weights.sum(1, keepdim=True)
        return torch.tensordot(weights, self.neighbours, 1)


def _moved(planes: Tensor, c: Chances) -> Tensor:
    """Planes [N, 3, S, S] turned and enlarged about their centre, then shifted; outside them is black."""
    radians, size = torch.deg2rad(c.angle), 1 + c.zoom
    along, across = torch.cos(radians) / size, torch.sin(radians) / size
    side = planes.shape[-1]
    # in units of half the side, and a shift in pixels of a 112-pixel crop
    unit = side / 112 / ((side - 1) / 2)
    dx, dy = c.dx * unit, c.dy * unit
    back = torch.stack(
        [along, -across, across * dy - along * dx, across, along, -across * dx - along * dy], dim=1
    )
    grid = nn.functional.affine_grid(back.view(-1, 2, 3), list(planes.shape), align_corners=True)
    return nn.functional.grid_sample(planes, grid, "bilinear", "zeros", align_corners=True)


def _lit(planes: Tensor, c: Chances) -> Tensor:
    """Planes [N, 3, S, S] with changed brightness, contrast and saturation."""
    weights = torch.tensor(_LUMA, device=planes.device).view(1, 3, 1, 1)
    luma = (planes * weights).sum(1, keepdim=True)
    saturation, contrast, brightness = (
        factor[:, None, None, None] for factor in (c.saturation, c.contrast, c.brightness)
    )
    coloured = torch.lerp(luma.expand_as(planes), planes, saturation).clamp_(0, 255)
    offset = luma.mean((1, 2, 3), keepdim=True) * (1 - contrast) * brightness
    return (coloured * (contrast * brightness) + offset.clamp(min=0)).clamp_(0, 255)


def _resampled(side: int, reduced: int) -> Tensor:
    """The matrix [S, S] that reduces a column of ``side`` pixels to ``reduced`` and enlarges it again."""
    columns = np.eye(side, dtype=np.float32)
    small = cv2.resize(columns, (side, reduced), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR))


def _shifted(side: int, by: int) -> Tensor:
    """The matrix [S, S] that takes each pixel's neighbour ``by`` pixels on, reflected at the edges."""
    place = np.abs(np.arange(side) + by)
    place = np.where(place > side - 1, 2 * (side - 1) - place, place)
    return torch.from_numpy(np.eye(side, dtype=np.float32)[place])


def _offsets() -> Tensor:
    return torch.arange(-_REACH, _REACH + 1)
