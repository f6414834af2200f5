"""Photo to crop. No torch here."""

from facekd.preprocess.source import Source, is_image, open_source
from facekd.preprocess.types import Crop, Detector, Face, Photo, Pixels

__all__ = ["Crop", "Detector", "Face", "Photo", "Pixels", "Source", "is_image", "open_source"]
