"""From scores to rates, each with its protocol, counts, interval and failures. No torch here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
