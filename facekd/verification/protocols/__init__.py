"""Protocols: which comparisons are made and how they are judged.

A protocol is a file of this folder whose function reads a list and registers itself::

    @register("lfw", lists=("pairs.txt",))
    def read(path: Path) -> Protocol: ...
"""

from facekd.verification.protocols.base import (
    Embed,
    Protocol,
    list_names,
    open_protocol,
    protocol_names,
    register,
)
from facekd.verification.protocols.pairlist import PairList

__all__ = ["Embed", "PairList", "Protocol", "list_names", "open_protocol", "protocol_names", "register"]
