"""Photo to crop. No torch here, and no heavy import before it is needed."""

from facekd.preprocess.align import ALIGNER, cut, recrop
from facekd.preprocess.decode import decode
from facekd.preprocess.detectors import detector_names, make_detector
from facekd.preprocess.faults import FAULTS, Fault, beyond
from facekd.preprocess.finding import POLICIES, choose, find_face, find_faces
from facekd.preprocess.quality import quality
from facekd.preprocess.source import Source, identity_of, is_image, open_source
from facekd.preprocess.types import Crop, Detector, Face, Photo, Pixels

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
