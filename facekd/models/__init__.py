"""Networks, one architecture per file, found by name; teachers are in ``teachers``."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
