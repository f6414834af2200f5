"""The figures of results, one per file.

A figure is a function that yields no, one or several drawings from results of one protocol, and registers
itself with its place among the others::

    @RESULT_FIGURES.register(45)
    def median_scores(compared: ComparedResults) -> Iterator[Drawing]: ...
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
