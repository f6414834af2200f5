"""Protocols: which comparisons are made and how they are judged.

A protocol is a file of this folder whose function reads a list and registers itself::

    @register("lfw", lists=("pairs.txt",))
    def read(path: Path) -> Protocol: ...
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
