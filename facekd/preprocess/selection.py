"""Which face to keep when several are detected."""

from __future__ import annotations

import numpy as np

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import NoFace, SeveralFaces, TooSmall, Turned, UsageError
from facekd.geometry import scale_of, similarity
from facekd.preprocess.detection import find_faces
from facekd.preprocess.policies import POLICIES
from facekd.preprocess.turned_faces import angle_of, is_turned
from facekd.preprocess.types import Detector, Face, Photo

#: pixels between the eyes below which a face has too little detail to compare
MIN_EYE_DISTANCE = 8.0


#: how many times larger than any other a face must be to dominate its photo; it must also be the nearest to
#: the centre. Of 774 LFW photos in which SCRFD finds several faces, one dominates in 601, never the wrong one
#: (95 %: at most 0.6 %), judged by comparing each face with the person's other photos
#: (tools/measure_face_choice.py); the largest face is the wrong one in 17. In LFW the person is in the
#: centre, in other photos perhaps not.
DOMINANCE = 1.5


def find_face(photo: Photo, detector: Detector, on_many: str = "best") -> Face:
    """The one face of ``photo`` that the policy ``on_many`` chooses (see `choose`).

    Raises `NoFace`, `TooSmall`, `Turned`, or `SeveralFaces` with the policies that refuse several.
    """
    if on_many == "all":
        raise UsageError("one face is needed here, and the policy 'all' gives several")
    faces = find_faces(photo, detector)
    try:
        return choose(faces, photo.pixels.shape[:2], on_many)[0]
    except (NoFace, TooSmall, Turned, SeveralFaces) as error:
        raise type(error)(f"{photo.path}: {error.cause}", error.fix) from None


def choose(faces: list[Face], shape: tuple[int, ...], on_many: str = "best") -> list[Face]:
    """The ``faces`` to use in a photo of ``shape`` (height, width).

    Faces below `MIN_EYE_DISTANCE`, and those on their side (`is_turned`), are ignored. ``on_many``: "best"
    takes the largest area minus twice the squared distance to the photo's centre, "largest" the largest
    area, "central" the nearest to the centre, "dominant" the one that is both, by `DOMINANCE`, and raises
    `SeveralFaces` if there is none, "all" takes all (left to right), "skip" raises `SeveralFaces`.
    Raises `NoFace` without faces, `TooSmall` if all are too small, `Turned` if all others lie on their
    side.
    """
    if on_many not in POLICIES:
        raise UsageError(f"no policy is named '{on_many}'", f"Known: {', '.join(POLICIES)}.")
    if not faces:
        raise NoFace("no face was found")
    enough = [face for face in faces if eye_distance(face) >= MIN_EYE_DISTANCE]
    usable = [face for face in enough if not is_turned(face)]
    if enough and not usable:
        raise Turned(
            f"the face is turned by {abs(angle_of(enough[0])):.0f} degrees, and not found after rotation",
            "Rotate the photo upright.",
        )
    if not usable:
        widest = max(eye_distance(face) for face in faces)
        raise TooSmall(f"{widest:.1f} pixels between the eyes, at least {MIN_EYE_DISTANCE:g} are needed")
    if on_many == "all":
        return sorted(usable, key=lambda face: float(face.box[0]))
    if on_many == "skip" and len(usable) > 1:
        raise SeveralFaces(f"{len(usable)} faces, but only one is accepted")
    if on_many == "dominant":
        return [_dominant(usable, shape)]
    ranks = {
        "largest": lambda face: face.area,
        "central": lambda face: -_off_centre(face, shape),
        "best": lambda face: face.area - 2 * _off_centre(face, shape),
    }
    return [max(usable, key=ranks.get(on_many, ranks["best"]))]


def _dominant(faces: list[Face], shape: tuple[int, ...]) -> Face:
    largest = max(faces, key=lambda face: face.area)
    central = min(faces, key=lambda face: _off_centre(face, shape))
    others = [face.area for face in faces if face is not largest]
    if largest is not central or largest.area < DOMINANCE * max(others, default=0):
        raise SeveralFaces(f"{len(faces)} faces, and none clearly dominates")
    return largest


def eye_distance(face: Face) -> float:
    """Pixels between the eyes as if seen from the front: measured on the template fitted to the face, so
    that a turned head does not count as a small one. 0 for landmarks that coincide."""
    template = np.asarray(ARCFACE_TEMPLATE)
    try:
        scale = scale_of(similarity(face.landmarks, template))
    except TooSmall:
        return 0.0
    return float(np.linalg.norm(template[1] - template[0])) / scale


def _off_centre(face: Face, shape: tuple[int, ...]) -> float:
    """Squared distance of the box's centre to the photo's."""
    x = float(face.box[0] + face.box[2]) / 2 - shape[1] / 2
    y = float(face.box[1] + face.box[3]) / 2 - shape[0] / 2
    return x * x + y * y
