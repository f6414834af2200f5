"""The targets of the fuzzer: a reader, its first inputs, and the largest size of an input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fuzz_readers as readers
import fuzz_seeds as seeds

Reader = Callable[[bytes, Path], None]


@dataclass(frozen=True)
class Target:
    """``read`` reads an input as a command would, with a folder for files; ``seeds`` makes inputs, and none
    has more bytes than ``longest``."""

    read: Reader
    seeds: Callable[[], Iterator[bytes]]
    longest: int = 1 << 16


TARGETS = {
    "photo": Target(readers.read_photo, seeds.photos),
    "model": Target(readers.read_model, seeds.models),
    "card": Target(readers.read_stated_card, seeds.cards),
    "zip": Target(readers.read_zip, seeds.zips),
    "recordio": Target(readers.read_records, seeds.records),
    "bin": Target(readers.read_bin, seeds.bins),
    "archive": Target(readers.read_archive, seeds.archives),
    "gallery": Target(readers.read_gallery, seeds.galleries, longest=1 << 18),
    "lists": Target(readers.read_lists, seeds.lists),
}
