"""Templates of several photos, one against one, as in IJB.

A list has a line ``template,person,photo[,media]`` for each photo. Photos of one media, such as the frames
of one video, are averaged first, so that a long video has no more weight than a still; the media of a
template are then summed and scaled to unit length (Whitelam et al., "IARPA Janus Benchmark-B face
dataset", CVPRW 2017; Cao et al., "VGGFace2", FG 2018, whose evaluation insightface follows). The templates
to compare are listed in ``NAME_pairs.csv`` beside ``NAME.csv``, with lines ``template1,template2``;
without that file every template is compared with every other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from facekd.csv_rows import CsvRows
from facekd.errors import Unreadable
from facekd.verification.exclusion import nobody_known
from facekd.verification.protocols._base import Embed, checked_embeddings, register, without_embedding
from facekd.verification.protocols._pair_list import read_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.verification.results import AllPairsResult, ScoreResult

Rows: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True)
class MediaTemplate:
    """A template of a person: ``media``, each of one or more photos."""

    name: str
    person: str
    media: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Templates:
    """``pairs`` [P, 2] index ``templates``; `None` compares all with all."""

    name: str
    source: str
    templates: tuple[MediaTemplate, ...]
    pairs: NDArray[np.int64] | None

    @cached_property
    def photos(self) -> tuple[str, ...]:
        return tuple(sorted({photo for t in self.templates for media in t.media for photo in media}))

    @property
    def people(self) -> None:
        """`None`: templates are compared here, not photos."""

    @property
    def compared(self) -> list[tuple[str, str]] | None:
        """The names of the templates of each pair; `None` for all with all."""
        if self.pairs is None:
            return None
        return [(self.templates[one].name, self.templates[other].name) for one, other in self.pairs.tolist()]

    @property
    def left_out(self) -> None:
        """`None`: see `without`."""

    def without(self, people: Sequence[str]) -> Templates:
        """Raises `UsageError`, since `people` is not known."""
        raise nobody_known(self.name)

    def evaluate(self, embed: Embed) -> AllPairsResult | ScoreResult:
        """Average, compare and evaluate; a template without an embedded photo has no embedding.

        Raises `UsageError` if embeddings have the wrong shape or too few comparisons are completed.
        """
        import numpy as np

        from facekd.verification.known_people import judge_people
        from facekd.verification.listed_pairs import cosines
        from facekd.verification.score_lists import judge_scores

        rows = checked_embeddings(embed, self.photos)
        failed = without_embedding(rows, self.photos)
        made = self.embedded(rows)
        people = [template.person for template in self.templates]
        if self.pairs is None:
            return judge_people(
                self.name, self.source, made, people, len(self.photos), failed, compared="templates"
            )
        numbers = np.unique(people, return_inverse=True)[1][self.pairs]
        return judge_scores(
            self.name, self.source, cosines(made, self.pairs), numbers[:, 0] == numbers[:, 1], numbers,
            len(self.photos), failed,
        )  # fmt: skip

    def embedded(self, rows: Rows) -> Rows:
        """The templates [T, D] of photos with embeddings ``rows`` [N, D]."""
        import numpy as np

        place = {photo: index for index, photo in enumerate(self.photos)}
        return np.array([
            averaged([rows[[place[photo] for photo in media]] for media in template.media])
            for template in self.templates
        ])  # fmt: skip


def averaged(media: Sequence[Rows]) -> Rows:
    """The template [D] of ``media``, each the embeddings [n, D] of its photos; rows of NaN are left
    out, and a template without other rows is NaN."""
    import numpy as np

    there = [rows[~np.isnan(rows).all(axis=1)] for rows in media]
    means = [rows.mean(axis=0) for rows in there if len(rows)]
    if not means:
        return np.full(media[0].shape[1], np.nan, np.float32)
    total = np.sum(means, axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), np.float32)


@register("templates", "templates of several photos, as in IJB", lists=("templates.csv",))
def read(path: Path) -> Templates:
    """The list at ``path``, and the pairs beside it if there are any. Photo paths are relative to
    the data; a photo without a media is a media of its own.

    Raises `Unreadable` with the line if the format is wrong.
    """
    import numpy as np

    templates = _templates(path)
    beside = path.with_name(f"{path.stem}_pairs.csv")
    if not beside.is_file():
        return Templates("templates", str(path), templates, None)
    place = {template.name: index for index, template in enumerate(templates)}
    pairs = []
    for line, names in _lines(beside, (["template1", "template2"],)):
        for name in names:
            if name not in place:
                raise Unreadable(f"{beside}, line {line}: {path.name} has no template {name}")
        pairs.append([place[name] for name in names])
    if not pairs:
        raise Unreadable(f"{beside}: it lists no pair")
    return Templates("templates", f"{path} with {beside.name}", templates, np.array(pairs))


def _templates(path: Path) -> tuple[MediaTemplate, ...]:
    person: dict[str, str] = {}
    media: dict[str, dict[object, list[str]]] = {}
    columns = ["template", "person", "photo"]
    for line, row in _lines(path, (columns, [*columns, "media"])):
        name, who, photo = row[:3]
        if person.setdefault(name, who) != who:
            raise Unreadable(f"{path}, line {line}: template {name} is of {person[name]}, but here of {who}")
        # a still shares its media with no other photo; its line number identifies it
        key = row[3] if len(row) == 4 and row[3] else line
        photos = media.setdefault(name, {}).setdefault(key, [])
        photos.append(photo.replace("\\", "/").removeprefix("./"))
    if not person:
        raise Unreadable(f"{path}: it lists no template")
    return tuple(
        MediaTemplate(name, who, tuple(tuple(photos) for photos in media[name].values()))
        for name, who in person.items()
    )


def _lines(path: Path, heads: Sequence[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """The lines below one of ``heads``, with their numbers; only a fourth field may be empty."""
    rows = CsvRows(read_text(path), path)
    if rows.head not in heads:
        forms = " or ".join(",".join(columns) for columns in heads)
        raise rows.wrong_head(f"The first line must be {forms}.")
    for line, fields in rows:
        if len(fields) != len(rows.head) or not all(fields[:3]):
            raise rows.fault(line, f"expected {len(rows.head)} columns, none of them empty")
        yield line, fields
