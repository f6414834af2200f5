from .pixels import Pixels as Pixels
from .recropping import recrop as recrop
from .transform import scale_of as scale_of
from .transform import similarity as similarity
from .transform import turned_left as turned_left
from .warping import cut_box as cut_box
from .warping import warp as warp
