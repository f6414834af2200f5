"""facekd: distil a large face recogniser into a small one, prove it, use it.

Importing this package loads neither torch nor OpenCV; each package does so when it is used.
"""

import os

from facekd.version import __version__

# ONNX Runtime's own builds report to Microsoft how they are used, unless this is set before they are first
# imported (its Privacy.md); whoever wants that sets the variable to 0
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["__version__"]
