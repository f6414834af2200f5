"""Error rates by group of persons, at one threshold for all.

As in NIST's study of demographic differences (Grother, Ngan and Hanaoka, "Face recognition vendor
test part 3: demographic effects", NISTIR 8280, 2019): the threshold is that of a stated FMR over
everybody, and a group's own FMR is that of the non-mated comparisons within it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.verification.allpairs import AllPairs
from facekd.verification.intervals import Interval, wilson
from facekd.verification.operating import FEWEST_FALSE_MATCHES, enough
from facekd.verification.tables import measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType
    from rich.table import Table

#: the false match rates over everybody that a threshold is taken at: the strictest that counts allow
GROUP_FMRS = (1e-4, 1e-3, 1e-2)
_ROWS, _COLUMNS = 256, 1024
_INDEPENDENT = (
    "Wilson's intervals count comparisons as independent; they are too narrow where these share persons."
)

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """``errors`` in ``comparisons``; the rate is `None` where there are none to count in."""

    errors: int
    comparisons: int

    @property
    def rate(self) -> float | None:
        return self.errors / self.comparisons if self.comparisons else None

    @property
    def interval(self) -> Interval | None:
        return wilson(self.errors, self.comparisons) if self.comparisons else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "interval": self.interval.to_dict() if self.interval else None,
            "errors": self.errors,
            "comparisons": self.comparisons,
        }


@dataclass(frozen=True)
class GroupRates:
    """Rates of the groups ``names`` [G] at ``threshold``, which has ``fmr`` over everybody.

    ``photos`` [G] were embedded. ``missed`` [G] of the ``mated`` [G] comparisons within a group do
    not match; ``matches`` [G, G] of the ``non_mated`` [G, G] between two groups do (symmetric), whose
    mean score is ``likeness`` [G, G], NaN where there are none. ``across`` mated comparisons join two
    groups, ``left_out`` photos have no group: both count nowhere.
    """

    fmr: float
    threshold: float
    names: tuple[str, ...]
    photos: Counts
    mated: Counts
    missed: Counts
    non_mated: Counts
    matches: Counts
    likeness: NDArray[np.float64]
    across: int
    left_out: int

    def fmr_of(self, one: int, other: int | None = None) -> Share:
        """The FMR between groups ``one`` and ``other``, or within ``one``."""
        place = one, one if other is None else other
        return Share(int(self.matches[place]), int(self.non_mated[place]))

    def fnmr_of(self, group: int) -> Share:
        return Share(int(self.missed[group]), int(self.mated[group]))

    @property
    def fmr_ratio(self) -> float | None:
        """The worst group's FMR over the best one's; `None` where the best is 0 or fewer than two
        have one."""
        return _ratio([self.fmr_of(group) for group in range(len(self.names))])

    @property
    def fnmr_ratio(self) -> float | None:
        """As `fmr_ratio`."""
        return _ratio([self.fnmr_of(group) for group in range(len(self.names))])

    def to_dict(self) -> dict[str, Any]:
        numbers = range(len(self.names))
        return {
            "fmr": self.fmr,
            "threshold": self.threshold,
            "groups": [
                {
                    "group": self.names[group],
                    "photos": int(self.photos[group]),
                    "fmr": self.fmr_of(group).to_dict(),
                    "fnmr": self.fnmr_of(group).to_dict(),
                }
                for group in numbers
            ],
            "fmr_worst_to_best": self.fmr_ratio,
            "fnmr_worst_to_best": self.fnmr_ratio,
            "between": [
                [
                    {**self.fmr_of(one, other).to_dict(), "mean_score": self._mean(one, other)}
                    for other in numbers
                ]
                for one in numbers
            ],
            "mated_across_groups": self.across,
            "photos_without_group": self.left_out,
            "caveats": self.caveats(),
        }

    def _mean(self, one: int, other: int) -> float | None:
        return None if np.isnan(self.likeness[one, other]) else float(self.likeness[one, other])

    def caveats(self) -> list[str]:
        thin = [
            name for group, name in enumerate(self.names) if self.matches[group, group] < FEWEST_FALSE_MATCHES
        ]
        said = [_INDEPENDENT]
        if thin:
            said.append(
                f"Fewer than {FEWEST_FALSE_MATCHES} false matches within {', '.join(thin)}: read the "
                "interval, not the rate."
            )
        return said

    def figure(self) -> Figure:
        """Heat maps of the FMR between groups, on a log scale, and of the mean non-mated score."""
        return _heat_maps(self)

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        said = (
            f"By group, at the threshold {self.threshold:.4f} of FMR {self.fmr:g} over everybody. Worst to "
            f"best: FMR {_times(self.fmr_ratio)}, FNMR {_times(self.fnmr_ratio)}. {self.left_out:,} photos "
            f"without group; {self.across:,} mated comparisons across groups are left out."
        )
        return Group(Text(said), *_tables(self), *[Text(line) for line in self.caveats()])


def choose_threshold(everyone: AllPairs) -> tuple[float, float]:
    """The strictest of `GROUP_FMRS` that the comparisons of ``everyone`` can show, and its threshold.

    Raises `UsageError` where they are too few for any.
    """
    for fmr in GROUP_FMRS:
        if enough(everyone.non_mated, fmr):
            return fmr, everyone.threshold_at(fmr)
    raise UsageError(
        f"{everyone.non_mated:,} non-mated comparisons are too few for a threshold to judge groups by",
        f"At FMR {GROUP_FMRS[-1]:g} it takes {FEWEST_FALSE_MATCHES / GROUP_FMRS[-1]:,.0f}.",
    )


def group_rates(
    embeddings: NDArray[np.float32],
    people: Sequence[str],
    groups: Sequence[str | None],
    threshold: float,
    fmr: float,
) -> GroupRates:
    """Compare every photo with every other and count by group.

    ``embeddings`` [N, D], rows of NaN where there is none; ``people`` [N] and ``groups`` [N] of the
    photos, `None` where a photo has no group. Raises `UsageError` with fewer than two groups.
    """
    known = np.array([group is not None for group in groups], bool)
    there = known & ~np.isnan(embeddings).all(axis=1)
    names, group = np.unique([g for g, kept in zip(groups, there, strict=True) if kept], return_inverse=True)
    if len(names) < 2:
        raise UsageError(
            f"the embedded photos are of {len(names)} groups, two are the least",
            "Photos are named in the file of groups as the protocol names them.",
        )
    person = np.unique(np.asarray(people)[there], return_inverse=True)[1]
    rows = embeddings[there] / np.linalg.norm(embeddings[there], axis=1, keepdims=True)
    matches, mated, missed = _count(rows, person, group, len(names), threshold)
    own = np.zeros((person.max() + 1, len(names)), np.int64)
    np.add.at(own, (person, group), 1)
    photos = own.sum(axis=0)
    non_mated = photos[:, None] * photos - own.T @ own
    # within a group each comparison was counted from both ends
    np.fill_diagonal(non_mated, non_mated.diagonal() // 2)
    return GroupRates(
        fmr, threshold, tuple(str(name) for name in names), photos, mated.diagonal(), missed.diagonal(),
        non_mated, _symmetric(matches), _likeness(rows, person, group, non_mated),
        int(mated.sum() - np.trace(mated)), int((~known).sum()),
    )  # fmt: skip


def _likeness(rows: NDArray[np.float32], person: Counts, group: Counts, non_mated: Counts) -> NDArray[Any]:
    """Mean non-mated score [G, G]. The scores of two sets of photos add up to the product of the sums of
    their rows; those of one person's photos are taken out again."""
    groups = len(non_mated)
    parts, place = np.unique(person * groups + group, return_inverse=True)
    sums = np.zeros((len(parts), rows.shape[1]))
    np.add.at(sums, place, rows.astype(np.float64))
    total = np.zeros((groups, rows.shape[1]))
    np.add.at(total, parts % groups, sums)
    scores = total @ total.T
    # a person's parts stand together, one for each group that they have photos in
    for part in np.split(np.arange(len(parts)), np.flatnonzero(np.diff(parts // groups)) + 1):
        one = parts[part] % groups
        scores[np.ix_(one, one)] -= sums[part] @ sums[part].T
    np.fill_diagonal(scores, scores.diagonal() / 2)
    with np.errstate(invalid="ignore"):
        return np.where(non_mated > 0, scores / non_mated, np.nan)


def _count(
    rows: NDArray[np.float32], person: Counts, group: Counts, groups: int, threshold: float
) -> tuple[Counts, Counts, Counts]:
    """Non-mated matches, mated comparisons and those of them that miss, each [G, G] by the groups
    of the first and the second photo."""
    found = np.zeros((3, groups * groups), np.int64)
    for top in range(0, len(rows), _ROWS):
        for left in range(top, len(rows), _COLUMNS):
            scores = rows[top : top + _ROWS] @ rows[left : left + _COLUMNS].T
            height, width = scores.shape
            above = np.arange(top, top + height)[:, None] < np.arange(left, left + width)
            same = person[top : top + height, None] == person[left : left + width]
            match = scores >= threshold
            for place, kind in enumerate((above & ~same & match, above & same, above & same & ~match)):
                one, other = np.nonzero(kind)
                pair = group[top + one] * groups + group[left + other]
                found[place] += np.bincount(pair, minlength=groups * groups)
    matches, mated, missed = found.reshape(3, groups, groups)
    return matches, mated, missed


def _symmetric(counts: Counts) -> Counts:
    both = counts + counts.T
    np.fill_diagonal(both, counts.diagonal())
    return both


def _ratio(shares: Sequence[Share]) -> float | None:
    rates = [share.rate for share in shares if share.rate is not None]
    return max(rates) / min(rates) if len(rates) > 1 and min(rates) > 0 else None


def _times(ratio: float | None) -> str:
    return "not defined (the best has none)" if ratio is None else f"{ratio:.1f} times"


def _tables(rates: GroupRates) -> list[Table]:
    """Each group's own rates, and the FMR between groups."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    own, between = (Table(box=SIMPLE_HEAD, pad_edge=False) for _ in range(2))
    for column in ("in %, with 95 % interval", "photos", "FMR within", "FNMR"):
        own.add_column(column)
    for column in ("FMR between groups, in %", *rates.names):
        between.add_column(column)
    for group, name in enumerate(rates.names):
        own.add_row(name, f"{rates.photos[group]:,}", _cell(rates.fmr_of(group)), _cell(rates.fnmr_of(group)))
        between.add_row(name, *[_rate(rates.fmr_of(group, other)) for other in range(len(rates.names))])
    return [own, between]


def _cell(share: Share) -> str:
    if share.rate is None:
        return "no comparisons"
    return f"{measure(share.rate, share.interval, 3)}\n  {share.errors:,} of {share.comparisons:,}"


def _rate(share: Share) -> str:
    return "-" if share.rate is None else f"{100 * share.rate:.3f}"


def _heat_maps(rates: GroupRates) -> Figure:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    count = len(rates.names)
    fmr = np.array([[rates.fmr_of(a, b).rate or np.nan for b in range(count)] for a in range(count)])
    shown = fmr[np.isfinite(fmr)]
    scale = LogNorm(shown.min(), max(shown.max(), shown.min() * 1.01)) if shown.size else None
    figure = Figure(figsize=(2 * (2.5 + 0.7 * count), 2 + 0.6 * count), dpi=150, layout="constrained")
    # adding zero turns the -0 of a rounded small number into 0
    likeness = rates.likeness.round(3) + 0
    maps = (
        (fmr, scale, lambda one, other: _rate(rates.fmr_of(one, other)), "FMR",
         f"FMR in %, threshold of FMR {rates.fmr:g} over everybody"),
        (rates.likeness, None, lambda one, other: f"{likeness[one, other]:.3f}", "score",
         "Mean non-mated score"),
    )  # fmt: skip
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1}
    for axes, (values, norm, told, label, title) in zip(figure.subplots(1, 2), maps, strict=True):
        drawn = axes.imshow(values, cmap="viridis", norm=norm)
        for one in range(count):
            for other in range(count):
                axes.text(other, one, told(one, other), ha="center", va="center", fontsize="small", bbox=box)
        axes.set_xticks(range(count), rates.names, rotation=45, ha="right")
        axes.set_yticks(range(count), rates.names)
        axes.set_title(title, fontsize="medium")
        figure.colorbar(drawn, label=label)
    return figure


def read_groups(path: Path) -> Mapping[str, str]:
    """The group of each photo in a CSV that begins with ``photo,group``.

    Raises `InputOutput` where it cannot be read, `Unreadable` with the line where its form is broken
    or a photo has a second group.
    """
    try:
        rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not a text file ({error.reason})") from error
    head = [column.strip().lower() for column in next(rows, [])]
    if head != ["photo", "group"]:
        raise Unreadable(
            f"{path}: its first line is '{','.join(head)[:60]}'", "It begins with the line photo,group."
        )
    found: dict[str, str] = {}
    try:
        for row in rows:
            fields = [field.strip() for field in row]
            if row and (len(fields) != 2 or not all(fields)):
                raise Unreadable(f"{path}, line {rows.line_num}: expected a photo and its group")
            if (
                row
                and found.setdefault(fields[0].replace("\\", "/").removeprefix("./"), fields[1]) != fields[1]
            ):
                raise Unreadable(f"{path}, line {rows.line_num}: {fields[0]} has another group further up")
    except csv.Error as error:
        raise Unreadable(f"{path}, line {rows.line_num}: {error}") from error
    return found
