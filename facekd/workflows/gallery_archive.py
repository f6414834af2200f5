"""Export a gallery to an archive, and import an archive into a gallery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facekd.errors import Misfit, Unreadable, UsageError
from facekd.gallery import (
    ArchivedPhotoRemoval,
    ArchivedRemoval,
    ArchivedTemplates,
    ArchiveHeader,
    ArchiveReader,
    ArchiveWriter,
    GalleryRecords,
    Place,
    TakenIn,
    clean_name,
    open_new,
    shown,
)


@dataclass(frozen=True)
class Imported:
    """The outcome of importing an archive's people and templates: ``new`` people and ``added`` templates were
    not in the gallery, ``present`` templates were; ``removed_people`` and ``removed_photos`` were not
    imported, because they had been removed from the gallery."""

    people: int = 0
    new: int = 0
    added: int = 0
    present: int = 0
    removed_people: int = 0
    removed_photos: int = 0


def export_gallery(
    gallery: Place, archive: Path, replace: bool = False, plain: bool = False
) -> ArchiveHeader:
    """Write all people in ``gallery`` and its record of removals to ``archive`` (mode 0600), as a consistent
    snapshot, which is read back before it gets its name.

    Archives are not encrypted, so an encrypted gallery is exported only if ``plain``. A gallery of a schema
    without uids is migrated. Raises `UsageError` if a name must be changed first or the file exists already,
    `Unreadable` for damaged data, `InputOutput` if writing fails.
    """
    with GalleryRecords(gallery, read_only=True) as records:
        has_uids = records.has_uids
        if records.encryption and not plain:
            raise UsageError(
                f"{gallery} is encrypted, and an archive is not",
                "Export it anyway with --plain, or copy the encrypted gallery: facekd gallery backup",
            )
    with GalleryRecords(gallery, read_only=has_uids) as records, open_new(archive, replace) as unfinished:
        header = _write(records, unfinished)
    return header


def _write(records: GalleryRecords, unfinished: Path) -> ArchiveHeader:
    with records.snapshot():
        names = _names(records)
        people = records.people()
        header = ArchiveHeader(records.contract, len(people), sum(person.templates for person in people))
        with unfinished.open("wb") as file:
            writer = ArchiveWriter(file, header)
            for stored, name in names.items():
                writer.person(records.uid_of(stored), name, records.templates(stored))
            for removed in records.removals():
                writer.removal(ArchivedRemoval(*removed))
            for photo in records.photo_removals():
                writer.photo_removal(ArchivedPhotoRemoval(*photo))
            writer.end()
    try:
        check_archive(unfinished)
    except Unreadable as error:
        what = error.cause.partition(": ")[2]
        raise Unreadable(
            f"{records.path}: its contents cannot go into an archive ({what})",
            "'facekd gallery check' lists the faults.",
        ) from error
    return header


def _names(records: GalleryRecords) -> dict[str, str]:
    """The spelling in an archive of each name in the gallery. Raises `UsageError` for a name of version 0.1.0
    that an archive cannot hold."""
    found: dict[str, str] = {}
    for person in records.people():
        advice = "Rename them first: facekd gallery rename OLD NEW"
        try:
            name = clean_name(person.name)
        except UsageError as error:
            raise UsageError(f"a name cannot go into an archive: {error.cause}", advice) from error
        if name in found.values():
            raise UsageError(f"the names of two people differ only in white space: '{shown(name)}'", advice)
        found[person.name] = name
    return found


def check_archive(archive: Path) -> ArchiveHeader:
    """Read a whole archive. Raises `Unreadable` or `TooLarge` if it cannot be imported."""
    with ArchiveReader(archive) as reader:
        for _ in reader.entries():
            pass
        return reader.header


def import_archive(archive: Path, gallery: Place, restore_removed: bool = False) -> Imported:
    """Import everybody in ``archive`` into ``gallery``, in one transaction; the gallery is created if it does
    not exist. People are identified by their uid: people already enrolled get the photos that they lack,
    under their present name. People and single photos that were removed from the gallery stay removed,
    unless ``restore_removed``.

    Raises `Misfit` if their spaces differ, `UsageError` if another person has a name or photo of the
    archive's people, `Unreadable` or `TooLarge` if the archive cannot be imported.
    """
    header = check_archive(archive)
    if not isinstance(gallery, Path) or gallery.exists():
        return _take(archive, header, gallery, restore_removed)
    with open_new(gallery, replace=False) as unfinished:
        return _take(archive, header, unfinished, restore_removed)


def _take(archive: Path, header: ArchiveHeader, gallery: Place, restore_removed: bool) -> Imported:
    try:
        records = GalleryRecords(gallery, header.contract, create=True)
    except Misfit as error:
        raise Misfit(
            f"{archive} is incompatible with the gallery: {error.cause}",
            "Import it into another gallery, or enroll the photos again with this gallery's model.",
        ) from error
    counts = _Counts()
    # the archive is checked again: it may have been replaced
    with records, ArchiveReader(archive) as reader:
        if reader.header != header:
            raise Unreadable(f"{archive}: it changed while it was being read", "Try again.")
        with records.transaction():
            for entry in reader.entries():
                match entry:
                    case ArchivedTemplates():
                        taken = records.take_in(entry.uid, entry.name, entry.templates, restore_removed)
                        counts.add(entry, taken)
                    case ArchivedRemoval():
                        records.learn_removal(entry.uid, entry.date, entry.merged_into)
                    case ArchivedPhotoRemoval():
                        records.learn_photo_removal(entry.seal, entry.uid, entry.date)
    return counts.imported(header)


class _Counts:
    def __init__(self) -> None:
        self._new = self._added = self._present = self._removed_photos = 0
        self._removed: set[str] = set()

    def add(self, entry: ArchivedTemplates, taken: TakenIn) -> None:
        self._new += taken.is_new
        self._added += taken.added
        self._present += len(entry.templates) - taken.added - taken.withheld
        if taken.is_removed:
            self._removed.add(entry.uid)
        else:
            self._removed_photos += taken.withheld

    def imported(self, header: ArchiveHeader) -> Imported:
        return Imported(
            header.people, self._new, self._added, self._present, len(self._removed), self._removed_photos
        )
