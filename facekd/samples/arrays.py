"""The one kind of array that this package passes around."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: an array of reals; float32 wherever there is much of it
Floats = NDArray[np.floating[Any]]
