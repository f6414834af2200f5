"""facekd: distil a large face recogniser into a small one, prove it, use it.

Importing this package loads neither torch nor OpenCV; each package does so when it is used.
"""

from facekd.version import __version__

__all__ = ["__version__"]
