from . import errors as errors
from .errors import CannotSay as CannotSay
from .errors import FacekdError as FacekdError
from .errors import InputOutput as InputOutput
from .errors import Misfit as Misfit
from .errors import NoFace as NoFace
from .errors import NotFound as NotFound
from .errors import SeveralFaces as SeveralFaces
from .errors import UsageError as UsageError
from .runtime import load_embedder as load_embedder
from .version import __version__ as __version__
from .workflows import Gallery as Gallery
from .workflows import Recognizer as Recognizer
from .workflows import align_photo as align
from .workflows import distill_recipe as distill
from .workflows import evaluate_files as evaluate

__all__ = [
    "CannotSay",
    "FacekdError",
    "Gallery",
    "InputOutput",
    "Misfit",
    "NoFace",
    "NotFound",
    "Recognizer",
    "SeveralFaces",
    "UsageError",
    "__version__",
    "align",
    "distill",
    "errors",
    "evaluate",
    "load_embedder",
]
