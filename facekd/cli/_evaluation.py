"""Shared by the commands that measure: the protocol, the output files, the printed answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from facekd.cli.output import answer_json, say, say_without_card

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from facekd.verification.protocols import Protocol
    from facekd.verification.results import Evaluation, GalleryResult, Result


@dataclass(frozen=True)
class OutputFiles:
    """The files to write besides the answer, where requested."""

    plot: Path | None
    report: Path | None
    table: Path | None

    def check(self) -> None:
        """Refuse files that cannot be written, before hours are spent on their contents."""
        from facekd.reporting import check_file, check_page, check_picture

        if self.plot:
            check_picture(self.plot)
        if self.report:
            check_page(self.report)
        if self.table:
            check_file(self.table)

    def write(
        self,
        results: Mapping[str, Result | GalleryResult],
        figure: Callable[[], Figure],
        page: Callable[[Path], object],
    ) -> None:
        """Draw the ``figure``, write the ``page`` and the numbers of the ``results``."""
        from facekd.reporting import draw, write_numbers

        if self.plot:
            draw(figure(), self.plot)
            say(f"plot written to {self.plot}")
        if self.report:
            page(self.report)
            say(f"page written to {self.report}")
        if self.table:
            write_numbers(self.table, {name: result.to_dict() for name, result in results.items()})
            say(f"numbers written to {self.table}")


def read_protocol(
    name: str | None, pairs: Path | None, data: Path, without: Path | None = None, root: str | None = None
) -> Protocol[Result]:
    """The protocol that is named, or that the file names suggest, with its list and without the people in the
    file ``without``. Prints the list if it was not given, and which of those people have no photo."""
    from facekd.verification.protocols import open_protocol, suggest_protocol
    from facekd.workflows import find_list, leave_out

    name = name or suggest_protocol(pairs, data)
    listed = pairs or find_list(name, data)
    if pairs is None and listed != data:
        say(f"list of pairs: {listed}")
    protocol = open_protocol(name, listed, root)
    if without is None:
        return protocol
    rest = leave_out(protocol, without)
    if rest.left_out and rest.left_out.unknown:
        unknown = rest.left_out.unknown
        more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
        say(f"{without}: {len(unknown):,} of these people have no photo: {', '.join(unknown[:5])}{more}")
    return rest


def tell_cards(found: Evaluation[Any]) -> None:
    """Print which models were read by convention, and which were trained on the data."""
    for model in found.models:
        if not model.has_card:
            say_without_card(model.file)
        if model.trained_on_data:
            say(f"note: {model.file} was trained on {found.data}: the result says little about unseen people")


class Answer(Interface):
    """A result that can be serialised and that `reporting` makes tables of."""

    def to_dict(self) -> dict[str, Any]: ...


def print_answer(found: Answer, as_json: bool, columns: int = 100) -> None:
    """Print ``found`` on stdout, as tables or as one JSON document; ``columns`` is the width where
    stdout has none of its own."""
    if as_json:
        answer_json(found.to_dict())
        return
    import sys

    from rich.console import Console

    from facekd.reporting import table

    # 100 columns hold four models
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else columns).print(table(found))
