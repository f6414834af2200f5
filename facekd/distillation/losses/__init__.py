"""Losses, one per file, found by name.

A file of this folder defines a `Loss` under ``@register_loss("name")``; another package adds one by an entry
point in the group ``facekd.losses`` (`facekd.registry`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
