"""Light on surfaces: diffuse with wrap, a highlight, shadows, and dark hollows from the depth map."""

from __future__ import annotations

import numpy as np

from facekd.samples.arrays import Floats
from facekd.samples.capture import Capture


def linear(colour: Floats) -> Floats:
    """Linear light from sRGB values in [0, 1], with a gamma of 2: accurate enough, and only a product."""
    return colour * colour


def shade(
    colour: Floats, normal: Floats, lit: Floats, hollow: Floats, taken: Capture, gloss: float = 0.0
) -> Floats:
    """Linear light [N, 3] of pixels with sRGB ``colour`` and unit ``normal`` [N, 3]; ``lit`` and
    ``hollow`` [N] come from `shadows` and `hollows`. Light creeps past the edge of shadow, redder,
    as it does in skin."""
    facing = normal @ np.asarray(taken.light, np.float32)
    above = taken.ambient * (0.80 + 0.25 * normal[:, 1] + 0.15 * normal[:, 2]) * hollow
    direct = np.float32(taken.key) * lit
    shine = gloss * _highlight(normal, taken) if gloss else None
    out = np.empty_like(colour)
    for channel, (tint, wrap) in enumerate(zip(taken.light_colour, (0.30, 0.18, 0.14), strict=True)):
        diffuse = np.maximum((facing + np.float32(wrap)) * np.float32(1 / (1 + wrap)), 0)
        arriving = direct * np.float32(tint)
        out[:, channel] = linear(colour[:, channel]) * (above + diffuse * arriving)
        if shine is not None:
            out[:, channel] += shine * arriving
    return out


def _highlight(normal: Floats, taken: Capture) -> Floats:
    return _fourth(_fourth(np.maximum(normal @ _halfway(taken), 0)))


def highlight_on_strands(along: Floats, taken: Capture) -> Floats:
    """Kajiya and Kay's highlight (SIGGRAPH 1989), [N], for strands whose unit direction is
    ``along`` [N, 3]."""
    across = along @ _halfway(taken)
    return _fourth(_fourth(np.maximum(1 - across * across, 0)))


def _fourth(value: Floats) -> Floats:
    square = value * value
    return square * square


def _halfway(taken: Capture) -> Floats:
    half = np.asarray(taken.light, np.float32) + np.array((0, 0, 1), np.float32)
    return half / np.linalg.norm(half)


def shadows(depth: Floats, taken: Capture) -> Floats:
    """How much of the light reaches each pixel, [S, S] in [0, 1]: the depth map is traced
    towards the light at half size, and obstacles darken."""
    import cv2

    size = depth.shape[0]
    small = cv2.resize(depth, (size // 2, size // 2), interpolation=cv2.INTER_NEAREST) / 2
    right, up, towards = taken.light
    blocked = np.zeros_like(small)
    for reach in np.geomspace(1.5, 0.22 * size, 12):
        shift = np.array([(1, 0, -reach * right), (0, 1, reach * up)], np.float32)
        seen = cv2.warpAffine(small, shift, small.shape[::-1], borderValue=float(small.min()))
        above = (seen - small - reach * towards - 0.6) / (1 + 0.06 * reach)
        blocked = np.maximum(blocked, np.clip(above, 0, 1))
    soft = cv2.GaussianBlur(blocked, (0, 0), 0.6 + size / 250)
    soft = cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR)
    return 1 - (0.35 + 0.6 * taken.hardness) * soft


def hollows(depth: Floats) -> Floats:
    """How much ambient light reaches each pixel: less where the surroundings are nearer."""
    import cv2

    size = depth.shape[0]
    found = np.ones_like(depth)
    small = cv2.resize(depth, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    for sigma, strength in ((size / 110, 6.0), (size / 40, 2.6)):
        around = cv2.GaussianBlur(small, (0, 0), sigma / 2 + 0.5)
        deep = cv2.resize(np.clip(around - small, 0, None), (size, size), interpolation=cv2.INTER_LINEAR)
        found /= 1 + strength * deep / size * 6
    return np.clip(found, 0.35, 1)
