"""Models side by side: what they weigh, how fast they are, how often they err. No torch here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
