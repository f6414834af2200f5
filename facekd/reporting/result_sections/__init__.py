"""The sections of a page of results, one per file.

A section is a function that yields no, one or several of them, and registers itself with its place among
the others::

    @RESULT_SECTIONS.register(55)
    def costs(page: ResultsPage) -> Iterator[Section]: ...
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
