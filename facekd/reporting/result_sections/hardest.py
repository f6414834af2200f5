"""The comparisons with each model's largest errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from facekd.reporting.page import FacePair, Section, Table
from facekd.reporting.result_sections._base import RESULT_SECTIONS, ResultsPage
from facekd.verification.results import HardPair, ShownPair

_HARDEST = (
    "Mated comparisons with the lowest scores, non-mated ones with the highest. Look at them before the "
    "numbers: wrong labels, faces of bystanders and damaged photos are among them too."
)


@RESULT_SECTIONS.register(60)
def hardest(page: ResultsPage) -> Iterator[Section]:
    """With faces if there are any, otherwise as a table."""
    for name, pairs in page.hardest.items():
        faces = tuple(
            FacePair(*shown.faces, _told(shown.pair), (_short(shown.pair.first), _short(shown.pair.second)))
            for shown in pairs
            if shown.faces
        )
        title = f"Hardest for {name}" if len(page.hardest) > 1 else "Hardest comparisons"
        if pairs:
            yield Section(title, (_HARDEST,), () if faces else (_hardest_table(pairs),), pairs=faces)


def _hardest_table(pairs: Sequence[ShownPair]) -> Table:
    rows = tuple((_told(shown.pair), shown.pair.first, shown.pair.second) for shown in pairs)
    return Table(("Comparison", "One", "The other"), rows)


def _told(pair: HardPair) -> str:
    return f"{'mated' if pair.mated else 'non-mated'}, score {pair.score:.4f}"


def _short(name: str) -> str:
    """A photo's name without its folder if the file has the folder's name too."""
    folder, _, file = name.rpartition("/")
    person = folder.rpartition("/")[2]
    return file if person and file.startswith(person) else name
