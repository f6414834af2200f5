"""Photo to crop. No torch here, and no heavy import before it is needed."""

from facekd.geometry.pixels import Pixels
from facekd.geometry.recrop import recrop
from facekd.preprocess.align import ALIGNER, cut
from facekd.preprocess.decode import decode
from facekd.preprocess.detection import find_faces
from facekd.preprocess.detectors import detector_names, make_detector
from facekd.preprocess.identities import identity_of
from facekd.preprocess.photo_limits import FAULTS, Fault, beyond
from facekd.preprocess.quality import quality
from facekd.preprocess.selection import POLICIES, choose, find_face
from facekd.preprocess.sources.base import Source, is_image
from facekd.preprocess.sources.opening import open_source
from facekd.preprocess.types import Crop, Detector, Face, Photo

__all__ = [
    "ALIGNER",
    "FAULTS",
    "POLICIES",
    "Crop",
    "Detector",
    "Face",
    "Fault",
    "Photo",
    "Pixels",
    "Source",
    "beyond",
    "choose",
    "cut",
    "decode",
    "detector_names",
    "find_face",
    "find_faces",
    "identity_of",
    "is_image",
    "make_detector",
    "open_source",
    "quality",
    "recrop",
]
