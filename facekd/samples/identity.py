"""The identity that is drawn: the parameters of a synthetic person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Colour = tuple[float, float, float]
HairStyle = Literal["bald", "buzz", "short", "parted", "quiff", "curly", "bob", "long", "fringe", "tied"]

_LONG: frozenset[str] = frozenset({"bob", "long", "fringe", "tied"})

#: sRGB skin from the palest to the darkest
_SKIN = np.array([(240, 206, 188), (228, 186, 160), (206, 154, 122), (158, 106, 76), (104, 66, 48)]) / 255
#: sRGB hair: black, dark brown, brown, chestnut, auburn, dark blond, blond, grey
_HAIR = (
    np.array(
        [
            (24, 20, 20), (44, 31, 25), (72, 48, 33), (92, 56, 36), (124, 62, 34),
            (128, 98, 62), (190, 156, 104), (168, 166, 164),
        ]
    )
    / 255
)  # fmt: skip
_EYES = (
    np.array([(48, 30, 20), (78, 50, 28), (104, 82, 44), (86, 104, 74), (92, 122, 148), (120, 132, 140)])
    / 255
)


@dataclass(frozen=True)
class Person:
    """A synthetic person. Shape values without a unit are in standard deviations of the
    drawn population, 0 being the average face; colours are sRGB in [0, 1]; fractions are in [0, 1].
    """

    seed: int
    # skull and outline
    face_width: float
    face_length: float
    jaw_width: float
    chin_width: float
    chin_length: float
    chin_forward: float
    cheekbones: float
    cheeks: float
    forehead: float
    temples: float
    ears: float
    neck: float
    asymmetry: float
    # eyes and brows
    eye_spacing: float
    eye_size: float
    eye_opening: float
    eye_tilt: float
    eye_depth: float
    eye_height: float
    lid_crease: float
    iris: Colour
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_gap: float
    brow_density: float
    # nose and mouth
    nose_length: float
    nose_width: float
    nose_bridge: float
    nose_forward: float
    nose_tip: float
    nose_hump: float
    mouth_width: float
    mouth_height: float
    upper_lip: float
    lower_lip: float
    cupid: float
    mouth_curve: float
    # surface
    skin: Colour
    lips: Colour
    redness: float
    age: float
    freckles: float
    moles: tuple[tuple[float, float, float], ...]
    """Each mole: across and up the face in head units, and radius."""
    # hair
    hair: HairStyle
    hair_colour: Colour
    hairline: float
    parting: float
    beard: float
    moustache: float
    stubble: float
    glasses: Literal["none", "round", "square", "thin"]
    glasses_colour: Colour
    shirt: Colour


_SHAPE = (
    "face_width", "face_length", "jaw_width", "chin_width", "chin_length", "chin_forward", "cheekbones",
    "cheeks", "forehead", "temples", "ears", "neck", "asymmetry", "eye_spacing", "eye_size", "eye_opening",
    "eye_tilt", "eye_depth", "eye_height", "lid_crease", "brow_height", "brow_thickness", "brow_arch",
    "brow_tilt", "brow_gap", "nose_length", "nose_width", "nose_bridge", "nose_forward", "nose_tip",
    "nose_hump", "mouth_width", "mouth_height", "upper_lip", "lower_lip", "cupid", "mouth_curve", "hairline",
)  # fmt: skip

#: the distance of the two ends of the masculine-feminine axis from the average
_BUILD = {
    "jaw_width": 0.7, "chin_width": 0.6, "chin_length": 0.4, "neck": 0.9, "brow_thickness": 0.7,
    "brow_height": -0.5, "brow_arch": -0.5, "nose_width": 0.4, "nose_length": 0.3, "upper_lip": -0.5,
    "lower_lip": -0.4, "eye_size": -0.4, "face_length": 0.3, "eye_opening": -0.4,
}  # fmt: skip


def person(seed: int) -> Person:
    """The person of ``seed``, the same in every process; no two seeds share a face."""
    rng = np.random.default_rng([seed, 0xFACE])
    masculine = bool(rng.random() < 0.5)
    age = float(rng.beta(1.3, 1.8))
    shape = {name: float(np.clip(rng.normal(), -2.2, 2.2)) for name in _SHAPE}
    for name, shift in _BUILD.items():
        shape[name] += shift if masculine else -shift
    tone = float(rng.random())
    skin = _between(_SKIN, tone) * (1 + rng.normal(0, (0.015, 0.02, 0.03)))
    hair_colour = _hair_colour(rng, tone, age)
    bearded = masculine and rng.random() < 0.45
    moles = [
        (rng.uniform(-0.5, 0.5), rng.uniform(-0.85, 0.5), rng.uniform(0.010, 0.022))
        for _ in range(rng.poisson(1.2))
    ]
    return Person(
        seed=seed,
        **shape,
        iris=_triple(_EYES[_pick(rng, [4, 4, 2, 1.2, 1.5, 1] if tone < 0.45 else [6, 3, 0.6, 0, 0, 0])]),
        brow_density=float(rng.uniform(0.45, 1.0)),
        skin=_triple(skin),
        lips=_triple(_lip_colour(rng, skin, masculine)),
        redness=float(rng.uniform(0, 1)),
        age=age,
        freckles=float(rng.random() if tone < 0.4 and rng.random() < 0.25 else 0),
        moles=tuple((float(x), float(y), float(r)) for x, y, r in moles),
        hair=_style(rng, masculine, age),
        hair_colour=_triple(hair_colour),
        parting=float(rng.uniform(-0.5, 0.5)),
        beard=float(rng.uniform(0.5, 1)) if bearded and rng.random() < 0.6 else 0.0,
        moustache=float(rng.uniform(0.7, 1)) if bearded and rng.random() < 0.75 else 0.0,
        stubble=float(rng.uniform(0.1, 0.6)) if masculine else 0.0,
        glasses=("none", "round", "square", "thin")[_pick(rng, [7, 1, 1, 1])],
        glasses_colour=_triple(rng.choice([0.05, 0.12, 0.3]) + rng.uniform(0, 0.15, 3)),
        shirt=_triple(rng.uniform(0.05, 0.8) + rng.uniform(-0.2, 0.2, 3)),
    )


def _style(rng: np.random.Generator, masculine: bool, age: float) -> HairStyle:
    styles: tuple[HairStyle, ...] = get_args(HairStyle)
    weights = [(s in _LONG) != masculine or s == "curly" for s in styles]
    chances = [
        (0.3 + 2 * age if s == "bald" and masculine else 1.0) * (1.0 if fits else 0.06)
        for s, fits in zip(styles, weights, strict=True)
    ]
    return styles[_pick(rng, chances)]


def _hair_colour(rng: np.random.Generator, tone: float, age: float) -> np.ndarray:
    chances = [3, 3, 2, 1.5, 0.7, 1.5, 1.5, 0] if tone < 0.45 else [6, 3, 0.8, 0.2, 0, 0, 0, 0]
    colour: np.ndarray = _HAIR[_pick(rng, chances)] * rng.uniform(0.85, 1.15)
    grey = float(np.clip((age - 0.55) * 2.5 + rng.normal(0, 0.25), 0, 1))
    return colour * (1 - grey) + _HAIR[-1] * grey


def _lip_colour(rng: np.random.Generator, skin: np.ndarray, masculine: bool) -> np.ndarray:
    natural = skin * (0.84, 0.62, 0.62) + (0.02, 0.0, 0.01)
    painted = np.array((rng.uniform(0.5, 0.75), rng.uniform(0.1, 0.3), rng.uniform(0.15, 0.35)))
    share = 0.0 if masculine or rng.random() < 0.6 else rng.uniform(0.3, 0.8)
    return natural * (1 - share) + painted * share


def _between(table: np.ndarray, where: float) -> np.ndarray:
    places = np.linspace(0, 1, len(table))
    return np.array([np.interp(where, places, table[:, channel]) for channel in range(3)])


def _pick(rng: np.random.Generator, chances: list[float]) -> int:
    return int(rng.choice(len(chances), p=np.asarray(chances) / np.sum(chances)))


def _triple(colour: np.ndarray) -> Colour:
    red, green, blue = (float(c) for c in np.clip(colour, 0.01, 0.99))
    return red, green, blue
