"""The one training loop, its checkpoints and its data, independent of the method that is trained."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
