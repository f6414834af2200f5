from ._making import Maker as Maker
from ._making import detector_help as detector_help
from ._making import detector_maker as detector_maker
from ._making import detector_names as detector_names
from ._making import export_mtcnn as export_mtcnn
from ._making import make_detector as make_detector
from ._making import mtcnn_weights as mtcnn_weights
from ._making import register as register
