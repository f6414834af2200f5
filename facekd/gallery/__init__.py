"""Who is enrolled. No torch here."""

from facekd.gallery.names import NAME_LIMIT, clean_name
from facekd.gallery.records import Contract, GalleryRecords, Person, Template

__all__ = ["NAME_LIMIT", "Contract", "GalleryRecords", "Person", "Template", "clean_name"]
