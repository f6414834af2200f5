"""Face detectors behind one interface, one file each.

A detector's file holds a function ``(file, device, threads) -> Detector`` under
``@register("name", "name:FILE")``, whose second argument is how ``--detector`` names it. The registry lists
this folder, so adding a file is enough; another package adds a detector by an entry point of the group
``facekd.detectors`` (`facekd.registry`). Files whose names begin with an underscore are helpers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
