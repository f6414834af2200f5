"""Protocols: which comparisons are made and how they are evaluated.

A protocol is a file of this folder whose function reads a list and registers itself::

    @register("lfw", "LFW's pairs.txt", lists=("pairs.txt",), pairs_of_photos=True)
    def read(path: Path) -> Protocol: ...

The commands take everything about it from there: the choices and the help of ``--protocol``, where
its list is searched for, which file names suggest it. Help imports every file, so a file imports numpy, and
what needs it, inside its functions. Another package adds one by an entry point in the
group ``facekd.protocols`` (`facekd.registry`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
