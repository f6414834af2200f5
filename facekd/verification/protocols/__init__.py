"""Protocols: which comparisons are made and how they are judged.

A protocol is a file of this folder whose function reads a list and registers itself::

    @register("lfw", "LFW's pairs.txt", lists=("pairs.txt",), pairs_of_photos=True)
    def read(path: Path) -> Protocol: ...

What stands there is all that the commands know of it: the choices and the help of ``--protocol``, where
its list is looked for, which file names suggest it. Another package adds one by an entry point of the
group ``facekd.protocols`` (`facekd.registry`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
