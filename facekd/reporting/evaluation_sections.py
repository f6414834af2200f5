"""The parts of an evaluation's page that follow from its results alone."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence

from facekd.reporting.cells import further_rows, percent
from facekd.reporting.groups import heat_maps
from facekd.reporting.page import Cell, FacePair, Picture, Section, Table
from facekd.reporting.result_drawings import drawings
from facekd.reporting.text import table_notes, table_rows
from facekd.verification import OperatingPoint
from facekd.verification.results import (
    AllPairsResult,
    GroupRates,
    HardPair,
    IdentificationResult,
    PairResult,
    Result,
    ScoreResult,
    Share,
    ShownPair,
)

_HARDEST = (
    "Mated comparisons with the lowest scores, non-mated ones with the highest. Look at them before the "
    "numbers: wrong labels, faces of bystanders and broken photos end up here too."
)
Row = tuple[str | Cell, ...]
#: told to the reader as far as the table has them
_WORDS = (
    ("FMR", "False match rate: the share of comparisons of two different persons that match."),
    (
        "TAR@FMR",
        "The share of comparisons of one person that match, at the threshold that lets at most that share "
        "of the others match. FNMR, the false non-match rate, is 1 − TAR. The rate to choose a model by.",
    ),
    (
        "accuracy",
        "The share of right decisions among as many mated as non-mated pairs. Each fold is judged by the "
        "threshold that is best on the others. It says little of low FMRs, where most systems work.",
    ),
    ("AUC", "The chance that a mated pair scores above a non-mated one."),
    ("EER", "The rate at the threshold where FMR and FNMR are equal."),
    (
        "partial AUC",
        "The area under the ROC where FMR is low, on a scale from 50 % for chance to 100 % for no error.",
    ),
    (
        "minDCF",
        "What errors cost at the best threshold where one comparison in a hundred is mated and both errors "
        "are equally bad; 1 is the cost of refusing everybody.",
    ),
    (
        "d'",
        "How far the mean scores of mated and non-mated comparisons lie apart, in units of their spread.",
    ),
    (
        "FAR, FRR",
        "False accept and false reject rate of whole attempts: a comparison that failed, since a photo gave "
        "no embedding, counts as refused.",
    ),
    (
        "rank",
        "The share of probes whose person is among the first so many of the gallery. A tie counts against "
        "it, and so does a probe without embedding.",
    ),
    (
        "FNIR@FPIR",
        "The share of probes whose person does not come first with at least the threshold that lets at most "
        "that share of the photos of strangers find anybody.",
    ),
    (
        "photos without embedding",
        "Failures to acquire and missing photos: unreadable, without a usable face, or not in the data. "
        "Their comparisons have no score.",
    ),
)
_INTERVALS = (
    "Below each number stands its 95 % interval: where the number would lie with other people of the same "
    "kind. Two models whose intervals overlap may still differ: the comparison of pairs tells. 'Insufficient "
    "data' means that fewer than 30 errors of the stated rate are expected; fewer say too little of a rate."
)
_THRESHOLDS = (
    "A threshold belongs to its model, detector and aligner, and to people like these. Take one for use from "
    "data that is not the test data, with facekd calibrate; FMRs hold for persons who do not try to "
    "be taken for another."
)


def headlines(results: Mapping[str, Result]) -> Iterator[str]:
    """One sentence for each model that can be summed up, the most telling number first."""
    for name, result in results.items():
        told = _headline(result)
        if told:
            yield f"{name} {told}"


def _headline(result: Result) -> str | None:
    if isinstance(result, IdentificationResult):
        first = result.ranks[0]
        low, high = percent(first.interval.low), percent(first.interval.high)
        return (
            f"finds the right person first in {percent(first.rate)} % of {first.searches:,} searches "
            f"(95 % interval {low} to {high}) among {result.searches.enrolled:,} enrolled."
        )
    if isinstance(result, PairResult):
        accuracy, failed = result.accuracy, int((~result.completed).sum())
        low, high = percent(accuracy.interval.low), percent(accuracy.interval.high)
        lost = f", not counting {failed:,} that failed" if failed else ""
        matched = _matched(result.everyone_points)
        return (
            f"decides {percent(accuracy.mean)} % of {result.scores.size:,} pairs rightly (95 % interval "
            f"{low} to {high}{lost}){f', and it {matched}' if matched else ''}."
        )
    if isinstance(result, AllPairsResult | ScoreResult):
        matched = _matched(result.points)
        return f"{matched}." if matched else None
    return None


def _matched(points: Sequence[OperatingPoint]) -> str | None:
    """The operating point of the lowest FMR that the data can show."""
    told = [point for point in points if point.tar is not None]
    if not told:
        return None
    point = min(told, key=lambda point: point.fmr)
    between = ""
    if point.interval:
        between = f" ({percent(point.interval.low)} to {percent(point.interval.high)})"
    return f"matches {percent(point.tar or 0.0)} %{between} of mated comparisons at FMR {point.fmr:g}"


def numbers_section(results: Mapping[str, Result]) -> Section:
    """The table with intervals, the thresholds, the folds, and what a reader must know besides."""
    columns = [dict(_rows(result)) for result in results.values()]
    titles = dict.fromkeys(title for column in columns for title in column)
    rows: tuple[Row, ...] = tuple(
        (title, *(cell_of(column.get(title, "-")) for column in columns)) for title in titles
    )
    table = Table(("", *results), rows, "Rates in %, with their 95 % intervals below")
    notes = dict.fromkeys(note for result in results.values() for note in table_notes(result))
    more = (_thresholds_table(results), _folds_table(results))
    return Section("Numbers", tuple(notes), (table, *(made for made in more if made)))


def _rows(result: Result) -> list[tuple[str, str]]:
    """The table of ``result``, and before its last row, that of failures, what the terminal leaves out."""
    *rows, failures = table_rows(result)
    if isinstance(result, PairResult | ScoreResult):
        rows += further_rows(result.rates)
    return [*rows, failures]


def cell_of(text: str) -> Cell:
    """A number with its interval on the line below it."""
    value, _, interval = text.partition("\n")
    return Cell(value, interval.strip())


def _thresholds_table(results: Mapping[str, Result]) -> Table | None:
    points = {name: _points(result) for name, result in results.items()}
    titles = dict.fromkeys(title for column in points.values() for title in column)
    if not titles:
        return None
    rows: tuple[Row, ...] = tuple(
        (title, *(column.get(title, Cell("-")) for column in points.values())) for title in titles
    )
    return Table(("", *results), rows, "Thresholds on the score, and the errors that they were found by")


def _points(result: Result) -> dict[str, Cell]:
    """The thresholds of ``result`` by what they are for."""
    if isinstance(result, IdentificationResult):
        return {
            f"FPIR {p.fpir:g}": Cell(f"{p.threshold:.4f}", f"{p.false_positives or 0:,} false positives")
            for p in result.points
            if p.threshold is not None
        }
    listed: Sequence[OperatingPoint] = ()
    everyone: Sequence[OperatingPoint] = ()
    if isinstance(result, PairResult):
        listed, everyone = result.rates.points, result.everyone_points
    elif isinstance(result, ScoreResult):
        listed = result.points
    elif isinstance(result, AllPairsResult):
        everyone = result.points
    return {
        f"FMR {point.fmr:g}, {kind}": Cell(
            f"{point.threshold:.4f}", f"{point.false_matches or 0:,} false matches"
        )
        for kind, points in (("listed pairs", listed), ("all pairs", everyone))
        for point in points
        if point.threshold is not None
    }


def _folds_table(results: Mapping[str, Result]) -> Table | None:
    folds = {name: found.folds for name, found in results.items() if isinstance(found, PairResult)}
    if not folds:
        return None
    first = next(iter(folds.values()))
    rows = tuple(
        (fold.name, *(f"{percent(own[n].accuracy)} ({own[n].threshold:.4f})" for own in folds.values()))
        for n, fold in enumerate(first)
    )
    return Table(("Fold", *folds), rows, "Accuracy of each fold in % (at the threshold of the other folds)")


def pictures_section(results: Mapping[str, Result]) -> Section | None:
    """The pictures of `drawings`, where there are any."""
    pictures = tuple(drawing.picture() for drawing in drawings(results))
    return Section("Pictures", pictures=pictures) if pictures else None


def hardest_sections(models: Mapping[str, Sequence[ShownPair]]) -> Iterator[Section]:
    """The comparisons that each model decides worst, with faces where there are any, else as a table."""
    for name, pairs in models.items():
        faces = tuple(
            FacePair(*shown.faces, _told(shown.pair), (_short(shown.pair.first), _short(shown.pair.second)))
            for shown in pairs
            if shown.faces
        )
        title = f"Hardest for {name}" if len(models) > 1 else "Hardest comparisons"
        if pairs:
            yield Section(title, (_HARDEST,), () if faces else (_hardest_table(pairs),), pairs=faces)


def _hardest_table(pairs: Sequence[ShownPair]) -> Table:
    rows = tuple((_told(shown.pair), shown.pair.first, shown.pair.second) for shown in pairs)
    return Table(("Comparison", "One", "The other"), rows)


def _told(pair: HardPair) -> str:
    return f"{'mated' if pair.mated else 'non-mated'}, score {pair.score:.4f}"


def _short(name: str) -> str:
    """A photo's name without the folder where the file is named after it too."""
    folder, _, file = name.rpartition("/")
    person = folder.rpartition("/")[2]
    return file if person and file.startswith(person) else name


def groups_section(models: Mapping[str, GroupRates]) -> Section | None:
    """Rates by group of each model, with the heat maps of FMR and score between groups."""
    if not models:
        return None
    told = [
        f"{name}: at the threshold {rates.threshold:.4f} of FMR {rates.fmr:g} over everybody."
        for name, rates in models.items()
    ]
    caveats = dict.fromkeys(caveat for rates in models.values() for caveat in rates.caveats())
    return Section(
        "By group",
        (*told, *caveats),
        tuple(_group_table(name, rates) for name, rates in models.items()),
        tuple(_heat_map(name, rates) for name, rates in models.items()),
    )


def _group_table(name: str, rates: GroupRates) -> Table:
    rows: tuple[Row, ...] = tuple(
        (
            group,
            f"{rates.photos[place]:,}",
            _share_cell(rates.fmr_of(place)),
            _share_cell(rates.fnmr_of(place)),
        )
        for place, group in enumerate(rates.names)
    )
    return Table(("Group", "Photos", "FMR within, %", "FNMR, %"), rows, f"{name} by group")


def _share_cell(share: Share) -> Cell:
    if share.rate is None or share.interval is None:
        return Cell("no comparisons")
    between = f"{percent(share.interval.low, 3)} to {percent(share.interval.high, 3)}"
    return Cell(percent(share.rate, 3), f"{between}; {share.errors:,} of {share.comparisons:,}")


def _heat_map(name: str, rates: GroupRates) -> Picture:
    drawn = io.BytesIO()
    heat_maps(rates).savefig(drawn, format="png")
    alt = f"Heat maps of the FMR of {name} between groups, and of the mean non-mated score."
    return Picture(drawn.getvalue(), alt, name)


def reading_section(results: Mapping[str, Result]) -> Section:
    """What the words of this page mean."""
    return reading_of([title for result in results.values() for title, _ in _rows(result)])


def reading_of(titles: Sequence[str]) -> Section:
    """What the words in the ``titles`` of a page's rows mean."""
    rows = tuple((word, meaning) for word, meaning in _WORDS if any(word in title for title in titles))
    return Section("How to read this page", (_INTERVALS, _THRESHOLDS), (Table(("Word", "Meaning"), rows),))
