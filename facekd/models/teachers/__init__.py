"""Teachers: frozen networks that label views, all with the interface `facekd.models.Teacher`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
