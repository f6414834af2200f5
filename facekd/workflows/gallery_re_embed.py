"""Move a gallery to another model, by the photos that its people were enrolled with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facekd.errors import CannotSay, Exit, FacekdError, InputOutput, UsageError
from facekd.files import cache_folder, make_private_folder
from facekd.gallery import (
    Contract,
    EmbeddingStore,
    GalleryRecords,
    KeySource,
    Moved,
    Place,
    SearchChoice,
    check_copy,
    check_movable,
    has_index,
    move_copy,
    move_gallery,
    search_choice,
)
from facekd.preprocess import FolderSource, Source, digest_of, open_source
from facekd.workflows.enroll import Failure, overall
from facekd.workflows.gallery_index import build_index, drop_index, look_at_index
from facekd.workflows.photos_given import PhotoFile
from facekd.workflows.recognizer import Recognizer

#: the reason for a photo that is missing from the folder
NO_PHOTO = "no_photo"


@dataclass(frozen=True)
class NotMoved:
    """The photos of the person ``name`` that have no embedding by the new model, counted by ``reasons`` (a
    word for programs each); ``moved`` photos of theirs have one."""

    name: str
    moved: int
    reasons: dict[str, int]

    @property
    def photos(self) -> int:
        return sum(self.reasons.values())

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "moved": self.moved, "not_moved": self.photos, "reasons": self.reasons}


@dataclass(frozen=True)
class PhotosSeen:
    """The contents of the folder: ``read`` photos, of which ``unknown`` ones belong to nobody in the gallery
    and ``copies`` repeat an earlier file; and the failures, including those of unreadable photos that belong
    to nobody in the gallery."""

    read: int
    unknown: int
    copies: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class ReEmbedded:
    """The outcome of moving a gallery's ``people`` and ``templates`` from the model of ``before`` to that of
    ``after``.

    ``moved`` describes the change; it is `None` if nothing was changed, because people would have been
    lost. ``not_moved`` are the people who lack photos. ``index`` is the engine of the search index that was
    built anew, `None` if there was none; ``unindexed`` is why it could not be built: the gallery is then
    searched exactly.
    """

    before: Contract
    after: Contract
    people: int
    templates: int
    not_moved: tuple[NotMoved, ...]
    seen: PhotosSeen
    moved: Moved | None = None
    index: str | None = None
    unindexed: FacekdError | None = None

    @property
    def lost(self) -> tuple[NotMoved, ...]:
        """People of whom no photo has an embedding by the new model."""
        return tuple(person for person in self.not_moved if not person.moved)

    @property
    def exit_code(self) -> Exit:
        """`DONE` if the gallery was moved, and its search index was built; otherwise `IO` if somebody's photo
        is missing or cannot be read, `CANNOT_SAY` if they show no usable face."""
        if self.moved is not None:
            return Exit.DONE if self.unindexed is None else self.unindexed.exit_code
        codes = {failure.reason: failure.exit_code for failure in self.seen.failures} | {NO_PHOTO: Exit.IO}
        return overall([codes[reason] for person in self.lost for reason in person.reasons])


@dataclass
class _Enrolled:
    """The people enrolled and their photos, at one moment."""

    contract: Contract
    state: str
    encrypted: bool
    photos: dict[str, list[str]] = field(default_factory=dict)

    @property
    def digests(self) -> set[str]:
        return {photo for photos in self.photos.values() for photo in photos}


def re_embed_gallery(
    gallery: Place,
    photos: Path,
    recognizer: Recognizer,
    *,
    out: Path | None = None,
    replace: bool = False,
    drop_missing: bool = False,
    on_many: str = "dominant",
    advance: Callable[[], object] = lambda: None,
    key: KeySource | None = None,
) -> ReEmbedded:
    """Replace every embedding in ``gallery`` by that of ``recognizer`` for the same photo; with ``out``, in a
    copy of the gallery at that path.

    Photos are identified by the SHA-256 of their file, wherever they are in ``photos``, a folder or a pack.
    People keep their names, uids, numbers and dates. If all photos of somebody are missing, or unusable with
    the new model, nothing is changed, unless ``drop_missing``; nor is it if nobody would remain. ``on_many``
    is the policy of `choose` for several faces. An encrypted gallery stays encrypted with its ``key``. A
    search index is dropped just before the gallery is changed, and built anew afterwards.

    Raises `UsageError` if the gallery already has this model, detector and aligner, or for an invalid
    ``out``; `InputOutput` or `Unreadable` if the gallery or the folder fails, or this user of a database may
    not move it. The gallery is unchanged then, and if the process is killed.
    """
    source = _opened(photos)
    enrolled = _read(gallery, key)
    if enrolled.contract == recognizer.contract:
        raise UsageError(
            f"{gallery} was made with {enrolled.contract.model}, this detector and this aligner already",
            "Name the new model with --model.",
        )
    move = _Move(gallery, out, replace, key)
    move.check()
    refused: dict[str, Failure] = {}
    with (
        move.restoring_index(),
        EmbeddingStore(move.beside, recognizer.contract, enrolled.encrypted) as store,
    ):
        while True:
            look = _Look(source, recognizer, store, refused, on_many)
            seen = look.through(enrolled.digests, advance)
            found = _compared(enrolled, recognizer.contract, store, refused, seen)
            if (found.lost and not drop_missing) or (found.people and len(found.lost) == found.people):
                break
            move.make(store, enrolled.state)
            if move.moved is not None:
                break
            # the gallery was changed in the meantime: only its new photos are embedded
            enrolled = _read(gallery, key)
    return move.outcome(found)


def photos_to_re_embed(photos: Path) -> int:
    """The number of images in ``photos``. Raises `InputOutput` if there are none."""
    return len(_opened(photos).names())


@dataclass
class _Move:
    """Moves ``gallery``, or a copy of it to ``out``, with all that belongs to it."""

    gallery: Place
    out: Path | None
    replace: bool
    key: KeySource | None
    moved: Moved | None = None
    _index: SearchChoice | None = None
    _unindexed: FacekdError | None = None

    def check(self) -> None:
        """Raise what `make` would, before hours of work."""
        if self.out is not None:
            check_copy(self.gallery, self.out, self.replace)
            return
        check_movable(self.gallery)
        with GalleryRecords(self.gallery, read_only=True, key=self.key) as records:
            look_at_index(records)

    @property
    def beside(self) -> Path:
        """A path in the folder of the new embeddings: that of the file which gets them; of a database, the
        cache."""
        if self.out is not None or isinstance(self.gallery, Path):
            return self.out or Path(str(self.gallery))
        folder = cache_folder() / "galleries"
        make_private_folder(folder)
        return folder / "moving"

    def make(self, store: EmbeddingStore, state: str) -> None:
        """Move the gallery if it is still in ``state``. Its search index is dropped before."""
        if self.out is not None:
            self.moved = move_copy(self.gallery, self.out, store, state, self.replace, self.key)
            return
        with GalleryRecords(self.gallery, key=self.key) as records:
            self._index = self._index or search_choice(records)
            if has_index(records):
                drop_index(records)
        self.moved = move_gallery(self.gallery, store, state, self.key)

    @contextmanager
    def restoring_index(self) -> Iterator[None]:
        """At the end, build the index that was dropped, whether the gallery was moved or not."""
        try:
            yield
        except FacekdError:
            self._build_index()
            raise
        self._build_index()

    def outcome(self, found: ReEmbedded) -> ReEmbedded:
        """What was ``found``, with what was done."""
        index = self._index.engine if self._index and not self._unindexed else None
        return replace(found, moved=self.moved, index=index, unindexed=self._unindexed)

    def _build_index(self) -> None:
        if self._index is None:
            return
        try:
            with GalleryRecords(self.gallery, key=self.key) as records:
                build_index(records, self._index.engine, self._index.place)
        except FacekdError as error:
            self._unindexed = error


def _opened(photos: Path) -> Source:
    source = FolderSource(photos, tolerant=True) if photos.is_dir() else open_source(photos)
    if not source.names():
        raise InputOutput(f"{photos}: contains no images")
    return source


def _read(gallery: Place, key: KeySource | None) -> _Enrolled:
    """Read a gallery; one of a schema without a state is migrated first. Raises `Unreadable` for a damaged
    template, whose new embedding would otherwise go to the wrong person with a valid checksum."""
    with GalleryRecords(gallery, read_only=True, key=key) as records:
        has_state = records.state() is not None
    with GalleryRecords(gallery, read_only=has_state, key=key) as records, records.snapshot():
        state = records.state()
        assert state is not None  # every migrated gallery has one
        enrolled = _Enrolled(records.contract, state, records.encryption is not None)
        for name in records.names():
            enrolled.photos[name] = [template.photo for template in records.templates(name)]
    return enrolled


@dataclass
class _Look:
    """A pass through all photos of a folder: those of the gallery are embedded into ``store`` or are
    ``refused``, each file once."""

    source: Source
    recognizer: Recognizer
    store: EmbeddingStore
    refused: dict[str, Failure]
    on_many: str

    def through(self, wanted: set[str], advance: Callable[[], object]) -> PhotosSeen:
        counts: Counter[str] = Counter()
        met = set[str]()
        failures: list[Failure] = []
        for photo in self._photos():
            counts["read"] += 1
            try:
                data = photo.read()
            except InputOutput as error:
                failures.append(Failure(photo.shown, error.reason, error.cause, error.exit_code))
            else:
                digest = digest_of(data)
                counts["unknown"] += digest not in wanted
                counts["copies"] += digest in met
                met.add(digest)
                if digest in wanted:
                    self._embed(photo, data, digest)
            advance()
        failures += self._unlisted()
        failures += [failure for digest, failure in self.refused.items() if digest in wanted]
        return PhotosSeen(counts["read"], counts["unknown"], counts["copies"], tuple(failures))

    def _photos(self) -> Iterator[PhotoFile]:
        for name in self.source.names():
            yield PhotoFile(self.source, name)

    def _unlisted(self) -> list[Failure]:
        """Failures of subfolders that cannot be listed."""
        if not isinstance(self.source, FolderSource):
            return []
        return [
            Failure(folder, error.reason, error.cause, error.exit_code)
            for folder, error in self.source.unlisted.items()
        ]

    def _embed(self, photo: PhotoFile, data: bytes, digest: str) -> None:
        if digest in self.store or digest in self.refused:
            return
        try:
            found = self.recognizer.recognise(data, photo.shown, self.on_many)
        except (CannotSay, InputOutput) as error:
            self.refused[digest] = Failure(photo.shown, error.reason, error.cause, error.exit_code)
        else:
            self.store.add(digest, found.embedding, found.quality)


def _compared(
    enrolled: _Enrolled,
    after: Contract,
    store: EmbeddingStore,
    refused: dict[str, Failure],
    seen: PhotosSeen,
) -> ReEmbedded:
    """The result of moving the gallery with the embeddings in ``store``."""
    not_moved = []
    for name, photos in enrolled.photos.items():
        missing = [photo for photo in photos if photo not in store]
        if missing or not photos:
            why = Counter(refused[p].reason if p in refused else NO_PHOTO for p in missing)
            reasons = dict(why) or {NO_PHOTO: 0}
            not_moved.append(NotMoved(name, len(photos) - len(missing), reasons))
    return ReEmbedded(
        before=enrolled.contract,
        after=after,
        people=len(enrolled.photos),
        templates=sum(map(len, enrolled.photos.values())),
        not_moved=tuple(not_moved),
        seen=seen,
    )
